/** The bytes of one body of JSON → those of another version: all of it, or what is wrong. */
import type { CompiledRule } from './body-rules.ts'
import { applyRules } from './body-rules.ts'
import { parseJson, renderJson } from './json-document.ts'

export type TranslatedBody =
  | { readonly kind: 'translated'; readonly text: string }
  /** The body is no JSON that can be translated. */
  | { readonly kind: 'malformed'; readonly problem: string }
  | { readonly kind: 'too-large' }

/** A BOM is skipped, as RFC 8259 section 8.1 allows. */
const decoder = new TextDecoder('utf-8', { fatal: true })

/** @param maxCharacters of what comes out. */
export function translateBody(body: Uint8Array, rules: readonly CompiledRule[], maxCharacters: number): TranslatedBody {
  let text: string
  try {
    text = decoder.decode(body)
  } catch {
    return { kind: 'malformed', problem: 'it is not UTF-8' }
  }
  const parsed = parseJson(text)
  if (!parsed.ok) return { kind: 'malformed', problem: parsed.problem }
  const outcome = applyRules(parsed.root, rules, maxCharacters)
  if (outcome === 'too-large') return { kind: 'too-large' }
  if (outcome !== 'ok') return { kind: 'malformed', problem: outcome.problem }
  const rendered = renderJson(parsed.root, maxCharacters)
  return rendered === undefined ? { kind: 'too-large' } : { kind: 'translated', text: rendered }
}
