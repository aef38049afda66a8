/** `/tap` of the admin API: requests and connections as they end. What reads its query is loaded when somebody asks. */
import { errorReply } from './reply.ts'
import type { AdminStream } from './streams.ts'

export const TAP: AdminStream = {
  verb: 'weir tap',
  async prepare({ taps, snapshot }, parameters) {
    if (taps === undefined) return errorReply(503, 'This agent shows no live traffic: start it without --tap off')
    const { parseTapQuery } = await import('./tap-query.ts')
    const query = parseTapQuery(parameters, snapshot, taps.redact)
    if (typeof query === 'string') return errorReply(400, query)
    const reading = await taps.load()
    return (handlers) => reading.open(query, handlers)
  },
}
