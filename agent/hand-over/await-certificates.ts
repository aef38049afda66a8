/** Whether an agent that is to take over has the certificates for it. */
import { startInterval } from '#base'
import type { NodeIdentityStatus } from '../identity/node-identities.ts'

const LOOK_MS = 50

/**
 * Resolves when each identity has a certificate, or was refused one while others got theirs. With none at all the CA is
 * away: then the agent that has them should go on.
 */
export async function awaitCertificates(list: () => readonly NodeIdentityStatus[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  using _ = startInterval(LOOK_MS, () => {
    if (areCertified(list())) resolve()
  })
  await promise
}

export function areCertified(identities: readonly Pick<NodeIdentityStatus, 'serial' | 'failures'>[]): boolean {
  const lacking = identities.filter(({ serial }) => serial === '')
  return lacking.length === 0 || (lacking.length < identities.length && lacking.every(({ failures }) => failures > 0))
}
