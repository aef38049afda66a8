/**
 * The log thread of the agent: reads files and matches lines, so that a million of them delay nothing that the agent
 * does, and what they take is bounded for this thread alone.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { type LogQuery, LogService } from '#logs'
import { guardHeap } from '../heap-guard.ts'
import type { FromAnyWorker } from '../worker-thread.ts'
import type { FromLogWorker, LogWorkerData, ToLogWorker } from './log-messages.ts'

function serve(port: MessagePort, { config }: LogWorkerData): void {
  const tell = (message: FromLogWorker | FromAnyWorker) => port.postMessage(message)
  const service = new LogService(config, (problem) => tell({ type: 'problem', problem }), Date.now)
  /** Readers whose expression is still being compiled. */
  const opening = new Set<number>()
  const open = async (id: number, query: LogQuery) => {
    opening.add(id)
    const greps = await matcherOf(query)
    if (!opening.delete(id)) return
    const send = (text: string) => tell({ type: 'frame', id, text })
    service.open(id, query, greps, send, (problem) => tell({ type: 'ended', id, problem }))
  }
  port.on('message', (message: ToLogWorker) => {
    switch (message.type) {
      case 'pods':
        service.setPods(message.pods)
        break
      case 'begin':
        void service.begin()
        break
      case 'open':
        void open(message.id, message.query)
        break
      case 'acknowledge':
        service.acknowledge(message.id)
        break
      case 'close':
        opening.delete(message.id)
        service.close(message.id)
        break
      case 'status':
        tell({ type: 'status', id: message.id, status: service.status() })
        break
      case 'stop':
        void service.stop().finally(() => {
          tell({ type: 'stopped' })
          port.close()
        })
        break
      default:
        message satisfies never
    }
  })
}

/**
 * In time linear in the message, whatever the expression; that it is one was checked before. Loaded for those who ask for
 * more than a plain text: it takes some 7 MiB.
 */
async function matcherOf({ grep }: LogQuery): Promise<(message: string) => boolean> {
  if (/^[\w\s/:=,;@%&#<>"'~!-]*$/.test(grep)) return (message) => message.includes(grep)
  const { compileRegex } = await import('#routing')
  const compiled = compileRegex(`.*(?:${grep}).*`)
  return compiled.ok ? (message) => compiled.regex.matches(message) : () => false
}

if (parentPort !== null) {
  guardHeap()
  serve(parentPort, workerData as LogWorkerData)
}
