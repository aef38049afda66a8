/** The base of every error of ours: a stable code to branch on, a sentence for people. */

export type WeirErrorCode = `WEIR_${string}`

export class WeirError extends Error {
  override readonly name: string = 'WeirError'
  /** `WEIR_<DOMAIN>_<WHAT>`; stable, part of the interface. */
  readonly code: WeirErrorCode

  constructor(code: WeirErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

/** One line saying what went wrong, whatever was thrown. */
export function errorLine(thrown: unknown): string {
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  return text.replaceAll(/\s*\n\s*/g, '; ').trim()
}
