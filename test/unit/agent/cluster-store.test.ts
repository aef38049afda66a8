import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CA_FILES, CaDirectory, readRevocationLists, revokeInDirectory } from '#identity/ca'
import { Publication, syncSecret } from '../../../agent/ca/cluster-store.ts'
import { MemoryCluster } from '../../support/memory-cluster.ts'

const SECRET = '/api/v1/namespaces/weir-system/secrets/weir-ca'
const CONFIG_MAP = '/api/v1/namespaces/weir-system/configmaps/weir-ca-root'

function dataOf(cluster: MemoryCluster, path: string): Readonly<Record<string, string>> | undefined {
  return cluster.objects.get(path)?.['data'] as Readonly<Record<string, string>> | undefined
}

const contents = (mark: string) =>
  Object.fromEntries(Object.values(CA_FILES).map((name) => [name, `${name} of ${mark}\n`]))

let directories = 0

function directory(t: { testdirName: string; testdir(): string }, mark?: string): string {
  if (directories++ === 0 || !existsSync(t.testdirName)) t.testdir()
  const path = join(t.testdirName, `ca-${directories}`)
  mkdirSync(path)
  for (const [name, text] of Object.entries(mark === undefined ? {} : contents(mark))) {
    writeFileSync(join(path, name), text)
  }
  return path
}

const read = (path: string) =>
  Object.fromEntries(
    readdirSync(path)
      .sort()
      .map((name) => [name, readFileSync(join(path, name), 'utf8')]),
  )

t.test('the first replica’s CA goes into the Secret, and the others take it over', async (t) => {
  const cluster = new MemoryCluster()
  const [first, second, third] = [directory(t, 'first'), directory(t), directory(t)]
  t.equal(await syncSecret(cluster, 'weir-system/weir-ca', second), false, 'nothing here, nothing there')
  t.equal(await syncSecret(cluster, 'weir-system/weir-ca', first), false)
  t.equal(
    Buffer.from(dataOf(cluster, SECRET)?.['ca-key.pem'] ?? '', 'base64').toString(),
    'ca-key.pem of first\n',
    'base64, as a Secret has it',
  )
  for (const [name, text] of Object.entries(contents('second'))) writeFileSync(join(second, name), text)
  t.equal(await syncSecret(cluster, 'weir-system/weir-ca', second), true)
  t.same(read(second), contents('first'))
  t.equal(await syncSecret(cluster, 'weir-system/weir-ca', third), true, 'also into an empty directory')
  t.same(read(third), contents('first'))
  t.equal(await syncSecret(cluster, 'weir-system/weir-ca', third), false, 'once')
  t.same(cluster.writes, [`POST ${SECRET}`])
})

t.test('a replica that comes second in a race takes the other’s CA', async (t) => {
  const cluster = new MemoryCluster()
  const path = directory(t, 'late')
  let raced = false
  const request: MemoryCluster['request'] = async (method, url, options) => {
    if (method === 'POST' && !raced) {
      raced = true
      const data = Object.entries(contents('early')).map(([name, text]) => [name, Buffer.from(text).toString('base64')])
      await cluster.request('POST', url, { body: { metadata: { name: 'weir-ca' }, data: Object.fromEntries(data) } })
    }
    return cluster.request(method, url, options)
  }
  t.equal(await syncSecret({ request }, 'weir-system/weir-ca', path), true)
  t.same(read(path), contents('early'))
})

t.test('a Secret that is no CA is told, and nothing is written', async (t) => {
  const cluster = new MemoryCluster()
  await cluster.request('POST', '/api/v1/namespaces/weir-system/secrets', {
    body: { metadata: { name: 'weir-ca' }, data: { 'ca-cert.pem': 'YQ==' } },
  })
  const path = directory(t)
  await t.rejects(syncSecret(cluster, 'weir-system/weir-ca', path), {
    message: /^The Secret weir-system\/weir-ca lacks ca-key\.pem, root-cert\.pem, cert-chain\.pem: put .* into it/,
  })
  t.same(readdirSync(path), [])
})

t.test('roots and revocations are told in a ConfigMap; never the key', async (t) => {
  const cluster = new MemoryCluster()
  const path = directory(t, 'first')
  const publication = new Publication(cluster, 'weir-system/weir-ca-root', path)
  t.equal(await publication.exchange(), false, 'not before there is a list')
  t.notOk(cluster.objects.has(CONFIG_MAP))
  writeFileSync(join(path, 'ca-crl.pem'), 'list 0')
  t.equal(await publication.exchange(), true)
  t.same(dataOf(cluster, CONFIG_MAP), { 'root-cert.pem': 'root-cert.pem of first\n', 'ca-crl.pem': 'list 0' })
  t.equal(await publication.exchange(), false)
  writeFileSync(join(path, 'ca-crl.pem'), 'list 1')
  writeFileSync(join(path, 'root-cert.pem'), 'two roots')
  t.equal(await publication.exchange(), true)
  t.same(dataOf(cluster, CONFIG_MAP), { 'root-cert.pem': 'two roots', 'ca-crl.pem': 'list 1' })
  t.same(cluster.writes, [`POST ${CONFIG_MAP}`, `PUT ${CONFIG_MAP}`])
})

t.test('what one replica revokes the others learn, and a restarted one does not forget', async (t) => {
  const cluster = new MemoryCluster()
  const one = directory(t, 'shared')
  const two = directory(t, 'shared')
  const [first, second] = [one, two].map((path) => new Publication(cluster, 'weir-system/weir-ca-root', path))
  await first?.exchange()
  await second?.exchange()
  writeFileSync(join(one, 'ca-crl.pem'), 'list 1')
  await first?.exchange()
  t.equal(await second?.exchange(), true)
  t.equal(readFileSync(join(two, 'ca-crl.pem'), 'utf8'), 'list 1')
  writeFileSync(join(two, 'ca-crl.pem'), 'list 2')
  await second?.exchange()
  t.equal(dataOf(cluster, CONFIG_MAP)?.['ca-crl.pem'], 'list 2')
  const restarted = directory(t, 'shared')
  await new Publication(cluster, 'weir-system/weir-ca-root', restarted).exchange()
  t.equal(readFileSync(join(restarted, 'ca-crl.pem'), 'utf8'), 'list 2')
  t.equal(dataOf(cluster, CONFIG_MAP)?.['ca-crl.pem'], 'list 2')
})

t.test('of two replicas that have revoked at the same time neither one’s is lost', async (t) => {
  const cluster = new MemoryCluster()
  const [one, two] = [directory(t), directory(t)]
  await CaDirectory.open(one, Date.now())
  await syncSecret(cluster, 'weir-system/weir-ca', one)
  await syncSecret(cluster, 'weir-system/weir-ca', two)
  const [first, second] = [one, two].map((path) => new Publication(cluster, 'weir-system/weir-ca-root', path))
  await first?.exchange()
  await second?.exchange()
  const serials = ['AA'.repeat(16), 'BB'.repeat(16)] as const
  await revokeInDirectory(one, [serials[0]], Date.now())
  await revokeInDirectory(two, [serials[1]], Date.now())
  await first?.exchange()
  await second?.exchange()
  await first?.exchange()
  const roots = [readFileSync(join(one, 'root-cert.pem'), 'utf8')]
  for (const path of [one, two]) {
    const { revocations } = await readRevocationLists(readFileSync(join(path, 'ca-crl.pem'), 'utf8'), roots)
    t.same(revocations.flatMap((list) => list.serials).sort(compareText), serials)
  }
})

function compareText(a: string, b: string): number {
  return a < b ? -1 : 1
}
