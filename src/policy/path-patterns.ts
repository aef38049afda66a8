/**
 * The values of `paths`, compiled: exact, `/prefix*`, `*suffix`, `*`, and templates with `{*}` (one
 * segment, not empty) and `{**}` (zero or more segments). Templates follow Istio's restrictions
 * (reference "paths"; Envoy uri_template): `{**}` at most once and last of the operators, at most one
 * operator in a segment, no other `*`, no named variables. A template outside them is never guessed at.
 */
import { canonicalPathLiteral, canonicalWholePath } from './normalize-path.ts'
import { TextPatterns } from './text-patterns.ts'
import { NO, type Truth, UNSURE, YES } from './truth.ts'

const OPERATOR = /\{\*{1,2}\}/
const SPECIAL = /[.*+?^${}()|[\]\\/]/g

function segmentSource(segment: string): string | undefined {
  const operator = OPERATOR.exec(segment)
  const before = operator === null ? segment : segment.slice(0, operator.index)
  const after = operator === null ? '' : segment.slice(operator.index + operator[0].length)
  if (/[*{}]/.test(before) || /[*{}]/.test(after)) return undefined
  const left = canonicalPathLiteral(before)?.replace(SPECIAL, '\\$&')
  const right = canonicalPathLiteral(after)?.replace(SPECIAL, '\\$&')
  if (left === undefined || right === undefined) return undefined
  if (operator === null) return left
  return `${left}${operator[0] === '{*}' ? '[^/]+' : '.*'}${right}`
}

/** Undefined when the template breaks a restriction. */
function templateExpression(template: string): RegExp | undefined {
  if (!template.startsWith('/')) return undefined
  const segments = template.slice(1).split('/')
  let source = ''
  let ended = false
  for (const [index, segment] of segments.entries()) {
    if (ended && OPERATOR.test(segment)) return undefined
    if (segment.includes('{**}')) ended = true
    const last = index === segments.length - 1
    const compiled = segmentSource(segment)
    if (compiled === undefined) return undefined
    // In the middle, zero segments leave one slash, since runs of slashes are merged; at the end the slash must be there.
    if (segment === '{**}' && !last) source += '(?:.*\\/)?'
    else source += last ? compiled : `${compiled}\\/`
  }
  return new RegExp(`^\\/${source}$`)
}

export class PathPatterns {
  readonly #texts: TextPatterns
  readonly #templates: readonly RegExp[]

  constructor(values: readonly string[]) {
    const texts: string[] = []
    const templates: RegExp[] = []
    let doubtful = false
    for (const value of values) {
      if (OPERATOR.test(value)) {
        const expression = templateExpression(value)
        if (expression === undefined) doubtful = true
        else templates.push(expression)
        continue
      }
      const compiled = compilePlain(value)
      if (compiled === undefined) doubtful = true
      else texts.push(compiled)
    }
    this.#texts = new TextPatterns(texts, doubtful)
    this.#templates = templates
    Object.freeze(this)
  }

  #matches(path: string): boolean {
    if (this.#texts.matches(path)) return true
    for (const template of this.#templates) if (template.test(path)) return true
    return false
  }

  /**
   * YES when every reading matches, NO when none does. That `/admin/` is `/admin` to most servers only
   * adds a doubt: it never turns a match into a mismatch.
   */
  judge(readings: readonly string[]): Truth {
    let hits = 0
    let nearby = false
    for (const path of readings) {
      if (this.#matches(path)) hits++
      else if (!nearby && path.length > 1 && path.endsWith('/')) nearby = this.#matches(path.slice(0, -1))
    }
    if (hits === readings.length) return YES
    return hits > 0 || nearby || this.#texts.doubtful ? UNSURE : NO
  }
}

function compilePlain(value: string): string | undefined {
  if (value === '*') return value
  if (value.startsWith('*')) {
    const suffix = canonicalPathLiteral(value.slice(1))
    return suffix === undefined ? undefined : `*${suffix}`
  }
  if (value.endsWith('*')) {
    const prefix = canonicalPathLiteral(value.slice(0, -1))
    return prefix === undefined ? undefined : `${prefix}*`
  }
  return canonicalWholePath(value)
}
