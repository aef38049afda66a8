import t from 'tap'
import type { Workload } from '#contract'
import type { IdentityState } from '../../../agent/admin/backend.ts'
import { certificateProblems, loneIssuerProblems } from '../../../agent/admin/certificate-problems.ts'

const identity = (name: string, state: IdentityState['state'], lastError = ''): IdentityState => ({
  spiffeId: `spiffe://cluster.local/ns/shop/sa/${name}`,
  state,
  serial: 'AB12',
  notAfterMs: 1,
  failingSinceMs: 0,
  lastError,
})

t.test('certificates that are good, or only just asked for, are no problem', async (t) => {
  t.strictSame(certificateProblems([identity('a', 'valid'), identity('b', 'pending')]), [])
})

t.test('a cause is told once, for all it keeps from a certificate', async (t) => {
  const away = 'Cannot reach the CA'
  const found = certificateProblems([
    identity('a', 'failing', away),
    identity('b', 'expired', away),
    identity('c', 'pending', 'The CA refuses'),
    identity('d', 'revoked'),
    identity('e', 'failing', 'no good answer'),
  ])
  t.strictSame(
    found.map(({ severity, subject, message }) => `${severity}: ${subject}: ${message}`),
    [
      'error: Certificate of spiffe://cluster.local/ns/shop/sa/a and of 1 more: expired: Cannot reach the CA',
      'error: Certificate of spiffe://cluster.local/ns/shop/sa/c: not issued: The CA refuses',
      "error: Certificate of spiffe://cluster.local/ns/shop/sa/d: revoked: the CA's revocation list names it; " +
        'pods of other nodes refuse it until it is renewed; restart the agent to renew it now',
      'error: Certificate of spiffe://cluster.local/ns/shop/sa/e: not renewed: no good answer',
    ],
  )
})

t.test('a key of one agent alone is a problem once mesh pods run on other nodes', async (t) => {
  const workload = (node: string, optedIn = true) => ({ kind: 'workload', node, optedIn }) as Workload
  t.strictSame(loneIssuerProblems([workload('a'), workload('b', false), workload('')], 'a'), [])
  t.match(loneIssuerProblems([workload('c'), workload('a'), workload('b'), workload('b')], 'a'), [
    { severity: 'error', message: /^mesh pods run on b, c, and .* signed with a key of this agent alone/ },
  ])
  t.match(
    loneIssuerProblems(
      ['b', 'c', 'd', 'e', 'f', 'g'].map((node) => workload(node)),
      'a',
    ),
    [{ message: /^mesh pods run on b, c, d, e, f, …, and/, remedy: /--ca-dir/ }],
  )
})
