/** One finding of `weir check`. */
export interface CheckLine {
  readonly result: 'ok' | 'warning' | 'failure'
  readonly what: string
  /** Empty when all is well. */
  readonly remedy: string
}
