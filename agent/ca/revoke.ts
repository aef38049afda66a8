/** `weir ca revoke`: certificates are named in the CA's revocation list, which agents follow. */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { normalizeSerial } from '#identity'
import { revokeInDirectory } from '#identity/ca'

export const REVOKE_USAGE = `weir ca revoke [SERIAL...] --ca-dir DIR
Adds certificates to DIR/ca-crl.pem and signs that list anew, for 7 days. Agents with that --ca-dir follow it within
seconds; give a copy to those with --ca as --ca-crl FILE. Without a SERIAL the list is made where there is none, or only
made to last longer; a weir ca that runs does both by itself. A list that is damaged is refused, and changes nothing.
  SERIAL                of a certificate, hexadecimal, as weir status shows it
  --ca-dir DIR          the CA that has issued it, and its key`

export type ParsedRevocation =
  | { readonly kind: 'revoke'; readonly caDir: string; readonly serials: readonly string[] }
  | { readonly kind: 'help' }
  | { readonly kind: 'errors'; readonly errors: readonly string[] }

/** @param args what follows `weir ca revoke` */
export function parseRevokeArguments(args: readonly string[]): ParsedRevocation {
  const errors: string[] = []
  const serials: string[] = []
  let caDir = ''
  const options = { 'ca-dir': { type: 'string' }, help: { type: 'boolean', short: 'h' } } as const
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true })
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      const serial = normalizeSerial(token.value)
      if (serial === undefined)
        errors.push(`${JSON.stringify(token.value)} is not a serial number: 1 to 40 hexadecimal digits.`)
      else if (!serials.includes(serial)) serials.push(serial)
    } else if (token.name === 'help') return { kind: 'help' }
    else if (token.name !== 'ca-dir') errors.push(`Unknown argument ${token.rawName}; see weir ca revoke --help.`)
    else if (!token.value) errors.push('--ca-dir: needs a value.')
    else caDir = resolve(token.value)
  }
  if (caDir === '' && errors.length === 0) errors.push('--ca-dir: missing.')
  return errors.length > 0 ? { kind: 'errors', errors } : { kind: 'revoke', caDir, serials }
}

export interface RevocationReport {
  /** What was done, for people. */
  readonly output: string
  /** What looks like a mistake, one line each. */
  readonly warnings: readonly string[]
}

/** @throws WeirError, one line */
export async function revoke(caDir: string, serials: readonly string[], nowMs: number): Promise<RevocationReport> {
  const { file, count, added, nextUpdateMs } = await revokeInDirectory(caDir, serials, nowMs)
  const before = serials.filter((serial) => !added.includes(serial))
  const until = new Date(nextUpdateMs).toISOString()
  const done = serials.length === 0 ? '' : `; ${told('added', added)}, ${told('already there', before)}`
  const warnings = added
    .filter(({ length }) => length < USUAL_DIGITS)
    .map((serial) => `${serial} is on the list now, but serial numbers of weir have some 32 digits: is it all of one?`)
  return { output: `${file}: ${count} revoked, good until ${until}${done}\n`, warnings }
}

/** Weir's serial numbers, and istiod's, are 128 random bits: 32 digits, seldom fewer, and hardly ever so few. */
const USUAL_DIGITS = 26

function told(what: string, serials: readonly string[]): string {
  return serials.length === 0 ? `${what} 0` : `${what} ${serials.length} (${serials.join(' ')})`
}
