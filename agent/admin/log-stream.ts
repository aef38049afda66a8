/** `/logs` of the admin API: what pods write. */
import { parseLogQuery } from '#logs'
import { compileRegex } from '#routing'
import { errorReply } from './reply.ts'
import type { AdminStream } from './streams.ts'

export const LOGS: AdminStream = {
  verb: 'weir logs',
  prepare({ logs }, parameters) {
    if (logs === undefined) return errorReply(503, 'This agent reads no logs: start it without --logs off')
    const query = parseLogQuery(parameters, Date.now())
    if (typeof query === 'string') return errorReply(400, query)
    // As it was written first: what is wrong is told of that.
    const patterns = query.grep === '' ? [] : [query.grep, `.*(?:${query.grep}).*`]
    for (const pattern of patterns) {
      const grep = compileRegex(pattern)
      if (!grep.ok) return errorReply(400, `Parameter grep: ${grep.error}`)
    }
    return (handlers) => logs.open(query, handlers)
  },
}
