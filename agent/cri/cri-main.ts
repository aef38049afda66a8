/** The process that asks the container runtime: one question over its IPC channel, one answer, the end. */
import { errorLine } from '#base'
import { findSandboxes } from './cri-client.ts'
import type { CriAnswer, CriQuestion } from './cri-messages.ts'

async function answer(question: CriQuestion): Promise<CriAnswer> {
  try {
    return { kind: 'sandboxes', sandboxes: await findSandboxes(question) }
  } catch (thrown) {
    return { kind: 'failure', why: errorLine(thrown) }
  }
}

process.once('message', (question: CriQuestion) => {
  void answer(question).then((told) => process.send?.(told, undefined, undefined, () => process.disconnect?.()))
})
process.on('disconnect', () => process.exit(0))
