import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type KubernetesApi, type KubernetesApiOptions, openKubernetesApi } from '#kubernetes'
import { namespaceObject, serviceObject } from '../../support/cluster-objects.ts'
import { FakeApiServer, type FakeApiServerOptions } from '../../support/fake-api-server.ts'

async function temporaryDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-kubernetes-'))
  t.teardown(() => rm(directory, { recursive: true }))
  return directory
}

async function setUp(
  t: Test,
  options: FakeApiServerOptions = {},
  apiOptions: KubernetesApiOptions = {},
): Promise<AsyncDisposable & { readonly server: FakeApiServer; readonly api: KubernetesApi }> {
  const server = await FakeApiServer.start(options)
  const kubeconfig = await server.kubeconfig(await temporaryDirectory(t))
  const api = await openKubernetesApi({ kubeconfig, ...apiOptions })
  return {
    server,
    api,
    [Symbol.asyncDispose]: async () => {
      await api[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

const failure = (status: number, reason: string, message?: RegExp) => ({
  name: 'KubernetesError',
  code: 'WEIR_KUBERNETES_REQUEST',
  status,
  reason,
  ...(message === undefined ? {} : { message }),
})
const MERGE = 'application/merge-patch+json'

t.test('Objects are made, read, changed and deleted, and a conflict is an error of its own', async (t) => {
  await using setup = await setUp(t)
  const { api } = setup
  const made = await api.request('POST', '/api/v1/namespaces/shop/services', { body: serviceObject('web') })
  t.match(made, { kind: 'Service', metadata: { name: 'web', resourceVersion: String } })
  const path = '/api/v1/namespaces/shop/services/web'
  t.strictSame(await api.request('GET', path), made)
  const body = { status: { conditions: [] }, spec: { ports: [] } }
  const patched = await api.request('PATCH', `${path}/status`, { body, contentType: MERGE })
  t.match(patched, { status: { conditions: [] }, spec: { ports: [{ port: 80 }] } }, 'of the status alone')
  const stale = { body: made }
  await t.rejects(api.request('PUT', path, stale), failure(409, 'Conflict', /^PUT http\S+\/web: 409: .*modified/))
  const again = api.request('POST', '/api/v1/namespaces/shop/services', { body: serviceObject('web') })
  await t.rejects(again, failure(409, 'AlreadyExists'))
  await api.request('DELETE', path)
  await t.rejects(api.request('GET', path), failure(404, 'NotFound'))
})

t.test('Refusals carry what the server said, or its status where it said nothing', async (t) => {
  await using setup = await setUp(t)
  const { server, api } = setup
  using _ = server.fault(({ path }) => path === '/a', { status: 429, headers: { 'retry-after': '7' } })
  await t.rejects(api.request('GET', '/a'), { ...failure(429, 'TooManyRequests'), retryAfterMs: 7000 })
  using _text = server.fault(({ path }) => path === '/b', { text: '<html>' })
  await t.rejects(api.request('GET', '/b'), failure(200, 'Malformed', /\/b: no JSON: <html>$/))
  await t.rejects(api.request('GET', '/apis', { maxBytes: 10 }), failure(200, 'TooLarge', /more than 10 bytes$/))
})

t.test('An answer that does not come, or not to its end, is an error in time', async (t) => {
  await using setup = await setUp(t)
  const { server, api } = setup
  server.put(namespaceObject('shop'))
  const path = '/api/v1/namespaces'
  for (const fault of ['hang', 'stall'] as const) {
    using _ = server.fault(() => true, fault)
    await t.rejects(
      api.request('GET', path, { timeoutMs: 50 }),
      failure(0, 'Timeout', /no \w*\s?answer within 0\.05 s/),
    )
  }
  {
    using _ = server.fault(() => true, 'cut')
    await t.rejects(api.request('GET', path), failure(0, 'Unreachable', /the connection broke/))
  }
  t.match(await api.request('GET', path), { items: [{ metadata: { name: 'shop' } }] }, 'and the next one is whole')
  await server.vanish()
  await t.rejects(api.request('GET', path), failure(0, 'Unreachable', /refused \(ECONNREFUSED\)$/))
  await server.comeBack()
  await api.request('GET', path)
})

t.test(
  'An aborted request throws the reason; so does everything that is open when the connection is closed',
  async (t) => {
    await using setup = await setUp(t)
    const { server, api } = setup
    const abort = new AbortController()
    using _ = server.fault(({ path }) => path === '/hang', 'hang')
    const request = api.request('GET', '/hang', { signal: abort.signal })
    await server.seen(({ path }) => path === '/hang')
    abort.abort(new Error('enough'))
    await t.rejects(request, { message: 'enough' })
    const watch = api.watch('/api/v1/pods', { onEvent: () => undefined })
    await server.watches.opened('pods')
    const closed = t.rejects(watch, failure(0, 'Closed'))
    await api[Symbol.asyncDispose]()
    await closed
    await t.rejects(api.request('GET', '/apis'), failure(0, 'Closed'))
  },
)

t.test('Events of a watch come one by one, however the bytes are cut; its orderly end is no error', async (t) => {
  await using setup = await setUp(t)
  const { server, api } = setup
  const names: unknown[] = []
  const wanted = Promise.withResolvers<void>()
  const watch = api.watch('/api/v1/namespaces', {
    query: { resourceVersion: 0 },
    onEvent: ({ type, object }) => {
      names.push([type, (object['metadata'] as { name: string }).name])
      if (names.length === 3) wanted.resolve()
    },
  })
  await server.watches.opened('namespaces')
  const bytes = Buffer.from(`${JSON.stringify({ type: 'ADDED', object: { metadata: { name: 'zwölf' } } })}\n`)
  for (const byte of bytes) server.watches.sendText('namespaces', Uint8Array.of(byte))
  server.watches.sendText('namespaces', '\n')
  server.put(namespaceObject('one'))
  server.put(namespaceObject('one'))
  await wanted.promise
  server.watches.end('namespaces')
  await watch
  t.strictSame(names, [
    ['ADDED', 'zwölf'],
    ['ADDED', 'one'],
    ['MODIFIED', 'one'],
  ])
})

t.test('A watch that is cut, is no watch, or lasts too long is an error', async (t) => {
  await using setup = await setUp(t)
  const { server, api } = setup
  const onEvent = (): void => undefined
  const cut = t.rejects(api.watch('/api/v1/pods', { onEvent }), failure(0, 'Unreachable'))
  await server.watches.opened('pods')
  server.watches.cut('pods')
  await cut
  for (const [text, reason] of [
    ['nonsense\n', 'Malformed'],
    ['{"type":"ODD","object":{}}\n', 'Malformed'],
    ['{"type":"ADDED"}\n', 'Malformed'],
    [`"${'x'.repeat(2000)}"\n`, 'TooLarge'],
    ['x'.repeat(2000), 'TooLarge'],
  ] as const) {
    const watch = t.rejects(api.watch('/api/v1/pods', { onEvent, maxLineBytes: 1000 }), failure(200, reason))
    await server.watches.opened('pods')
    server.watches.sendText('pods', text)
    await watch
    await server.watches.opened('pods', 0)
  }
  const broken = api.watch('/api/v1/pods', {
    onEvent: () => {
      throw new TypeError('a mistake of the caller')
    },
  })
  const mistake = t.rejects(broken, { name: 'TypeError', message: 'a mistake of the caller' })
  await server.watches.opened('pods')
  server.bookmark('pods')
  await mistake
  await t.rejects(api.watch('/api/v1/pods', { onEvent, timeoutMs: 30 }), failure(0, 'Timeout'))
  await t.rejects(api.watch('/api/v1/nothing', { onEvent }), failure(404, 'NotFound'))
})

t.test('A connection that the server closed while it was idle costs no error', async (t) => {
  await using setup = await setUp(t)
  const { server, api } = setup
  for (let index = 0; index < 5; index++) {
    await api.request('GET', '/apis')
    await server.vanish()
    await server.comeBack()
  }
  t.equal(server.requests.length, 5)
})

t.test('In a pod, the token is read again when it is refused, and when it is old', async (t) => {
  const directory = await temporaryDirectory(t)
  const certificate = makeCertificate(directory)
  const tls = { key: await readFile(certificate.key, 'utf8'), cert: await readFile(certificate.cert, 'utf8') }
  await using server = await FakeApiServer.start({ tls, token: 'first' })
  const account = join(directory, 'account')
  await mkdir(account)
  await writeFile(join(account, 'ca.crt'), tls.cert)
  await writeFile(join(account, 'token'), 'first\n')
  const { hostname, port } = new URL(server.url)
  const inCluster = {
    environment: { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port },
    serviceAccountDirectory: account,
  }
  await using api = await openKubernetesApi(inCluster)
  await api.request('GET', '/apis')
  server.setToken('second')
  await t.rejects(api.request('GET', '/apis'), failure(401, 'Unauthorized'))
  await writeFile(join(account, 'token'), 'second\n')
  await api.request('GET', '/apis')
  t.equal(server.requests.length, 4, 'with a token that is known to be refused nothing is tried again')

  await using eager = await openKubernetesApi({ ...inCluster, credentialsMaxAgeMs: 0 })
  server.setToken('third')
  await writeFile(join(account, 'token'), 'third\n')
  await eager.request('GET', '/apis')
  t.equal(server.requests.length, 5, 'it was not refused first')
  await rm(join(account, 'token'))
  await eager.request('GET', '/apis')
  t.equal(server.requests.length, 6, 'a file that is away for a moment is no reason to stop')
})

t.test('A server whose certificate is of another authority, or for another name, gets no token', async (t) => {
  const directory = await temporaryDirectory(t)
  const certificate = makeCertificate(directory)
  const tls = { key: await readFile(certificate.key, 'utf8'), cert: await readFile(certificate.cert, 'utf8') }
  await using server = await FakeApiServer.start({ tls, token: 'secret' })
  const open = async (cluster: Readonly<Record<string, unknown>>): Promise<KubernetesApi> =>
    await openKubernetesApi({ kubeconfig: await server.kubeconfig(directory, cluster) })
  {
    await using api = await open({})
    await t.rejects(api.request('GET', '/apis'), failure(0, 'Unreachable', /certificate authority/))
  }
  {
    await using api = await open({ 'certificate-authority': certificate.cert, 'tls-server-name': 'elsewhere' })
    await t.rejects(api.request('GET', '/apis'), failure(0, 'Unreachable', /elsewhere/))
  }
  t.equal(server.requests.length, 0)
  {
    await using api = await open({ 'certificate-authority-data': Buffer.from(tls.cert).toString('base64') })
    await api.request('GET', '/apis')
  }
  {
    await using api = await open({ 'insecure-skip-tls-verify': true })
    await api.request('GET', '/apis')
  }
  t.equal(server.requests.length, 2)
})

/** Of itself, for 127.0.0.1. */
function makeCertificate(directory: string): { readonly key: string; readonly cert: string } {
  const key = join(directory, 'tls.key')
  const cert = join(directory, 'tls.crt')
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  const name = ['-subj', '/CN=fake', '-addext', 'subjectAltName=IP:127.0.0.1']
  execFileSync('openssl', ['req', ...kind, ...name, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  return { key, cert }
}
