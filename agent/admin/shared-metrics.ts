/**
 * `/metrics` where anybody may ask it: what is asked of all proxies for it is asked once in a while, whoever asks how often,
 * and all get the same bytes.
 */
import type { Reply } from './reply.ts'

export type AnswerTo = (path: string, query: URLSearchParams) => Promise<Reply>

const SHARED = '/metrics'
/** Nobody scrapes more often. */
const KEPT_MS = 1_000
/** One that takes longer is asked for again. */
const UNDER_WAY_MS = 5_000

/** @param now monotonic, ms */
export function sharedMetrics(ask: AnswerTo, now: () => number = () => performance.now()): AnswerTo {
  const known = new Map<string, { readonly reply: Promise<Reply>; untilMs: number }>()
  return (path, query) => {
    if (path !== SHARED) return ask(path, query)
    const form = query.get('format') === 'json' ? 'json' : 'text'
    const last = known.get(form)
    if (last !== undefined && now() < last.untilMs) return last.reply
    const entry = { reply: ask(path, query), untilMs: now() + UNDER_WAY_MS }
    known.set(form, entry)
    const settled = () => {
      entry.untilMs = now() + KEPT_MS
    }
    entry.reply.then(settled, settled)
    return entry.reply
  }
}
