/**
 * One compiled field of a rule: a question put to the subject, with three possible answers. A field
 * that looks at HTTP on a connection that carries none is UNSURE: so an ALLOW rule that has it never
 * matches, and a DENY rule is judged by the rest of it, also when nothing else is left.
 */
import type { Subject } from './subject.ts'
import { not, type Truth, UNSURE } from './truth.ts'

export interface Check {
  /** As the policy writes it, for explanations: `notPorts ["80"]`. */
  readonly text: string
  readonly needs: CheckNeeds
  judge(subject: Subject): Truth
}

/** Which facts a check looks at: the connection's only, the name its TLS asks for, the request's, or the request's path. */
export type CheckNeeds = 'connection' | 'sni' | 'request' | 'path'

/** The answer for a field's values; they are compiled by the caller. */
export type Judge = (subject: Subject) => Truth

function check(field: string, values: readonly string[], needs: CheckNeeds, judge: Judge): Check {
  return Object.freeze({ text: `${field} ${JSON.stringify(values)}`, needs, judge })
}

/** A field that cannot be evaluated at all, and why. */
export function doubtfulCheck(text: string, reason: string): Check {
  return Object.freeze({ text: `${text} (${reason})`, needs: 'connection' as const, judge: (): Truth => UNSURE })
}

/** Compiles a field's values into a judge. */
export type FieldCompiler = (values: readonly string[]) => Judge

/** The checks of a field and of its `not` form; values that are absent or empty ask nothing. */
export function fieldChecks(
  into: Check[],
  field: string,
  needs: CheckNeeds,
  compile: FieldCompiler,
  values: readonly string[] | undefined,
  notField: string,
  notValues: readonly string[] | undefined,
): void {
  if (values !== undefined && values.length > 0) into.push(check(field, values, needs, compile(values)))
  if (notValues !== undefined && notValues.length > 0) {
    const judge = compile(notValues)
    into.push(check(notField, notValues, needs, (subject) => not(judge(subject))))
  }
}
