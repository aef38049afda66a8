/** Opens the issuer that the command line asks for. What makes certificates is loaded by another process only. */
import type { IssuerConfig } from './issuer-messages.ts'
import { ProcessIssuer } from './process-issuer.ts'

export type { IssuerConfig } from './issuer-messages.ts'

/** @throws WeirError, one line, when a file is missing or bad; a CA that is away is no error */
export function openIssuer(config: IssuerConfig, warn: (line: string) => void): Promise<ProcessIssuer> {
  return ProcessIssuer.open(config, { warn })
}
