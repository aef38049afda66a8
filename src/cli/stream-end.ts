/** What a verb that listened returns when its stream has ended. */
import { refused } from './ask-json.ts'
import { EXIT_OK, EXIT_UNREACHABLE, EXIT_WRONG } from './exit-code.ts'
import type { Listened } from './listen.ts'
import type { VerbResult } from './verb.ts'

/** @param problem what the agent said last; empty when it ended as it should */
export function resultOfStream(verb: string, answer: Listened, problem: string): VerbResult {
  switch (answer.kind) {
    case 'refused':
      return refused(verb, answer.status, answer.text)
    case 'unreachable':
      return { exitCode: EXIT_UNREACHABLE, output: '', error: answer.line }
    case 'broken':
      return { exitCode: EXIT_WRONG, output: '', error: answer.line }
    case 'ended':
      return problem === '' ? { exitCode: EXIT_OK, output: '' } : { exitCode: EXIT_WRONG, output: '', error: problem }
    default:
      return answer satisfies never
  }
}
