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

async function authority(t: { testdirName: string; testdir(): string }, cluster: MemoryCluster): Promise<string> {
  const path = directory(t)
  await syncSecret(cluster, 'weir-system/weir-ca', path)
  await CaDirectory.open(path, Date.now())
  await syncSecret(cluster, 'weir-system/weir-ca', path)
  return path
}

const publicationOf = (cluster: MemoryCluster, path: string) =>
  new Publication(cluster, 'weir-system/weir-ca-root', path)
const [AA, BB, CC] = ['AA'.repeat(16), 'BB'.repeat(16), 'CC'.repeat(16)] as const

async function revokedIn(path: string): Promise<readonly string[]> {
  const roots = [readFileSync(join(path, 'root-cert.pem'), 'utf8')]
  const { revocations } = await readRevocationLists(readFileSync(join(path, 'ca-crl.pem'), 'utf8'), roots)
  return revocations.flatMap((list) => list.serials).sort(compareText)
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : 1
}

t.test('roots and revocations are told in a ConfigMap together; never the key', async (t) => {
  const cluster = new MemoryCluster()
  const path = await authority(t, cluster)
  const publication = publicationOf(cluster, path)
  t.equal(await publication.exchange(), false, 'not before there is a list')
  t.notOk(cluster.objects.has(CONFIG_MAP))
  await revokeInDirectory(path, [], Date.now())
  t.equal(await publication.exchange(), true)
  t.same(Object.keys(dataOf(cluster, CONFIG_MAP) ?? {}).sort(compareText), ['ca-crl.pem', 'root-cert.pem'])
  t.equal(await publication.exchange(), false)
  await revokeInDirectory(path, [AA], Date.now())
  writeFileSync(join(path, 'root-cert.pem'), `${readFileSync(join(path, 'root-cert.pem'), 'utf8')}\n`)
  t.equal(await publication.exchange(), true)
  t.equal(dataOf(cluster, CONFIG_MAP)?.['root-cert.pem'], readFileSync(join(path, 'root-cert.pem'), 'utf8'))
  t.equal(dataOf(cluster, CONFIG_MAP)?.['ca-crl.pem'], readFileSync(join(path, 'ca-crl.pem'), 'utf8'))
})

t.test('what one replica revokes the others learn, and a restarted one does not forget', async (t) => {
  const cluster = new MemoryCluster()
  const [one, two] = [await authority(t, cluster), await authority(t, cluster)]
  const [first, second] = [publicationOf(cluster, one), publicationOf(cluster, two)]
  await revokeInDirectory(one, [AA], Date.now())
  await first.exchange()
  await second.exchange()
  t.same(await revokedIn(two), [AA])
  await revokeInDirectory(two, [BB], Date.now())
  await second.exchange()
  await first.exchange()
  t.same(await revokedIn(one), [AA, BB])
  t.equal(await second.exchange(), false, 'and then there is peace')
  t.equal(await first.exchange(), false)
  const restarted = await authority(t, cluster)
  await publicationOf(cluster, restarted).exchange()
  t.same(await revokedIn(restarted), [AA, BB])
})

t.test('of two replicas that have revoked at the same time neither one’s is lost', async (t) => {
  const cluster = new MemoryCluster()
  const [one, two] = [await authority(t, cluster), await authority(t, cluster)]
  const [first, second] = [publicationOf(cluster, one), publicationOf(cluster, two)]
  await revokeInDirectory(one, [AA], Date.now())
  await revokeInDirectory(two, [BB], Date.now())
  for (const publication of [first, second, first]) await publication.exchange()
  t.same(
    [await revokedIn(one), await revokedIn(two)],
    [
      [AA, BB],
      [AA, BB],
    ],
  )
})

t.test('whoever edits the ConfigMap brings nobody back, and puts no root there', async (t) => {
  const cluster = new MemoryCluster()
  const path = await authority(t, cluster)
  const publication = publicationOf(cluster, path)
  await revokeInDirectory(path, [AA], Date.now())
  await publication.exchange()
  const older = dataOf(cluster, CONFIG_MAP)?.['ca-crl.pem'] ?? ''
  await revokeInDirectory(path, [BB, CC], Date.now())
  await publication.exchange()
  const good = dataOf(cluster, CONFIG_MAP) ?? {}
  const stranger = directory(t)
  await CaDirectory.open(stranger, Date.now())
  await revokeInDirectory(stranger, [], Date.now())
  const edits = [
    { 'ca-crl.pem': older },
    { 'ca-crl.pem': '' },
    { 'ca-crl.pem': 'garbage' },
    { 'ca-crl.pem': readFileSync(join(stranger, 'ca-crl.pem'), 'utf8') },
    { 'root-cert.pem': readFileSync(join(stranger, 'root-cert.pem'), 'utf8') },
  ]
  for (const edit of edits) {
    cluster.put(CONFIG_MAP, { metadata: { name: 'weir-ca-root' }, data: { ...good, ...edit } })
    t.equal(await publication.exchange(), true)
    t.same(dataOf(cluster, CONFIG_MAP), good)
    t.same(await revokedIn(path), [AA, BB, CC])
  }
})
