/** One finding of `weir check`: what agent and command say to each other about the state of a node. */
export interface CheckLine {
  readonly result: 'ok' | 'warning' | 'failure'
  /** What was looked at and found, one line. */
  readonly what: string
  /** What to do about it, one line; empty when all is well. */
  readonly remedy: string
}

export function okLine(what: string): CheckLine {
  return { result: 'ok', what, remedy: '' }
}

export function warningLine(what: string, remedy: string): CheckLine {
  return { result: 'warning', what, remedy }
}

export function failureLine(what: string, remedy: string): CheckLine {
  return { result: 'failure', what, remedy }
}
