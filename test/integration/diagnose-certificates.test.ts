/** Certificates that are not renewed, because the CA is gone: told before they end, and no more once it is back. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Diagnosed, LOOK_ARGS } from '../support/diagnosed.ts'
import { openShop } from '../support/shop.ts'

const WEIR = join(import.meta.dirname, '../../scripts/weir')
const TOKEN = 'a1'.repeat(32)

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const path = (name: string) => join(lab.dir, name)
writeFileSync(path('token'), `${TOKEN}\n`, { mode: 0o600 })
writeFileSync(path('tokens.json'), JSON.stringify({ 'node-1': TOKEN }), { mode: 0o600 })
await shop.pod('client')
const ca = ['--ca-dir', path('ca'), '--join-tokens', path('tokens.json'), '--manifests', lab.manifestsDir]

async function startCa() {
  const started = lab.node.spawn(WEIR, ['ca', '--listen', '127.0.0.1:15012', ...ca])
  await started.waitForLine(/"msg":"ready"/)
  return started
}

t.test('a certificate that is valid is nothing to tell; one that is not renewed is, with the reason', async (t) => {
  const first = await startCa()
  const agent = await shop.start([
    ...LOOK_ARGS,
    ...['--ca', '127.0.0.1:15012', '--ca-root', path('ca/root-cert.pem'), '--join-token', path('token')],
    ...['--cert-ttl', '10s'],
  ])
  await agent.waitFor('certificate issued')
  const diagnosed = new Diagnosed(shop)
  const { findings } = await diagnosed.looked(5)
  t.notOk(findings.some(({ kind }) => kind === 'certificate-expiry'))
  await first.stop('SIGTERM')
  const identity = 'spiffe://cluster.local/ns/shop/sa/client'
  t.match(await diagnosed.found('certificate-expiry', identity), {
    severity: 'warning',
    says: /^The certificate of spiffe:.*client ends in \d.* s and was not renewed: ./,
    evidence: [/client: ends 20\d\d-/],
    next: 'weir check',
  })
  await startCa()
  await diagnosed.gone('certificate-expiry', identity)
})
