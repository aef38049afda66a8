/** BackendTLSPolicy: clients speak plain HTTP, the mesh TLS to nginx, whose certificate is verified; what cannot be is 503. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { LabPod } from '../support/lab-node.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const inside = await shop.pod('inside')
const outside = await shop.pod('outside', { optedIn: false })
const ports = [
  { name: 'http', port: 80, targetPort: 8443 },
  { name: 'plain', port: 81, targetPort: 8080 },
  { name: 'h2', port: 82, targetPort: 8444, appProtocol: 'kubernetes.io/h2c' },
]
const services = [inside, outside].map(({ name }) => ({ name, address: shop.service(name, { ports }).ipv4 }))

const { NODE_OPTIONS: _, ...env } = process.env
const at = (name: string) => join(lab.dir, name)
const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { env, stdio: 'ignore', cwd: lab.dir })
const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
for (const ca of ['ca', 'other-ca']) {
  openssl('req', '-x509', '-days', '1', ...EC, '-keyout', `${ca}.key`, '-out', `${ca}.crt`, '-subj', `/CN=${ca}`)
}
openssl('req', ...EC, '-keyout', 'web.key', '-out', 'web.csr', '-subj', '/CN=common.example')
writeFileSync(at('ext'), 'subjectAltName=DNS:web.example,DNS:*.wild.example,URI:spiffe://other.org/ns/a/sa/b\n')
openssl(
  'x509',
  '-req',
  '-in',
  'web.csr',
  '-CA',
  'ca.crt',
  '-CAkey',
  'ca.key',
  '-days',
  '1',
  '-extfile',
  'ext',
  '-out',
  'web.crt',
)

async function serve(pod: LabPod): Promise<void> {
  const dir = at(pod.name)
  mkdirSync(dir)
  const seen = '$ssl_server_name|$ssl_alpn_protocol|$ssl_protocol|$connection_requests|$http_x_forwarded_client_cert'
  writeFileSync(
    join(dir, 'nginx.conf'),
    `daemon off; master_process off; pid ${dir}/pid; error_log ${dir}/error.log;
    events {}
    http {
      access_log off; client_body_temp_path ${dir}; proxy_temp_path ${dir}; fastcgi_temp_path ${dir}; uwsgi_temp_path ${dir}; scgi_temp_path ${dir};
      server { listen [::]:8443 ssl ipv6only=off; ssl_certificate ${at('web.crt')}; ssl_certificate_key ${at('web.key')};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / { return 200 "${seen}"; } location /big { root ${lab.dir}; } }
      server { listen [::]:8444 ssl http2 ipv6only=off; ssl_certificate ${at('web.crt')}; ssl_certificate_key ${at('web.key')};
        location / { return 200 "${seen}|$server_protocol"; } }
      server { listen [::]:8080 ipv6only=off; location / { return 200 "plain"; } }
    }`,
  )
  pod.spawn('nginx', ['-c', join(dir, 'nginx.conf')])
  for (let tries = 0; tries < 100; tries++) {
    if ((await pod.exec('curl', ['-s', 'http://127.0.0.1:8080/'])).stdout === 'plain') return
  }
  throw new Error(`nginx does not answer in ${pod.name}`)
}
const big = 'x'.repeat(3_000_000)
writeFileSync(at('big'), big)
await Promise.all([serve(inside), serve(outside)])
await shop.start()

const configMap = (file: string, key = 'ca.crt'): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'roots', namespace: 'shop' },
    data: { [key]: file === '' ? 'no certificate' : readFileSync(at(file), 'utf8') },
  })
const CA = 'caCertificateRefs: [{ group: "", kind: ConfigMap, name: roots }]'
const policy = (validation: string, more = ''): string =>
  services
    .map(
      ({ name }) => `
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: ${name}, namespace: shop }
spec: { targetRefs: [{ group: "", kind: Service, name: ${name}${more} }], validation: { ${validation} } }`,
    )
    .join('\n---')
const ask = (address: string, target = '/', port = 80) => shop.ask(client, address, port, { target })

/** What each of both backends answers, and the log's reason. */
async function outcomes(): Promise<string[]> {
  const found: string[] = []
  for (const { address } of services) {
    const from = shop.agent.logs.length
    const target = `/${Math.random()}`
    const { status, body } = await ask(address, target)
    const line = await shop.agent.waitFor(({ path }) => path === target, { from })
    found.push(
      status === 200 ? `200 ${body.split('|').slice(0, 3).join(' ')}` : `${status} ${line['flags']} ${line['reason']}`,
    )
  }
  return found
}
const both = (text: string | RegExp) => [text, text]
const failing = (why: RegExp) =>
  both(new RegExp(`^503 UF TLS to the backend \\(BackendTLSPolicy shop/(in|out)side\\): ${why.source}`))

t.test('requests arrive over TLS, for the policy’s hostname, with HTTP/1.1 agreed', async (t) => {
  await shop.apply(configMap('ca.crt'), policy(`${CA}, hostname: web.example`))
  t.same(await outcomes(), both('200 web.example http/1.1 TLSv1.3'))
  t.equal((await ask(services[0]?.address ?? '', '/big')).body.length, big.length, 'a large answer too')
})

t.test('connections are pooled as others are', async (t) => {
  const counts = new Set<string>()
  for (let i = 0; i < 4; i++) counts.add((await ask(services[1]?.address ?? '')).body.split('|')[3] ?? '')
  t.ok(counts.size > 1, `requests of a connection: ${[...counts].join(', ')}`)
})

t.test('a certificate for another name, or of another CA, is 503 and the log says why', async (t) => {
  await shop.apply(configMap('ca.crt'), policy(`${CA}, hostname: else.example`))
  t.match(await outcomes(), failing(/the certificate is not for else.example/))
  await shop.apply(configMap('ca.crt'), policy(`${CA}, hostname: common.example`))
  t.match(await outcomes(), failing(/the certificate is not for common.example/), 'a common name is no name')
  await shop.apply(configMap('other-ca.crt'), policy(`${CA}, hostname: web.example`))
  t.match(await outcomes(), failing(/unable to verify|unable to get|certificate verify failed/))
  await shop.apply(policy('wellKnownCACertificates: System, hostname: web.example'))
  t.match(
    await outcomes(),
    failing(/unable to verify|unable to get|certificate verify failed/),
    'nor a root that nobody knows',
  )
})

t.test('with subjectAltNames one of them counts, and the hostname is the server name only', async (t) => {
  const names = (list: string) => policy(`${CA}, hostname: else.example, subjectAltNames: ${list}`)
  await shop.apply(configMap('ca.crt'), names('[{ type: URI, uri: "spiffe://other.org/ns/a/sa/b" }]'))
  t.same(await outcomes(), both('200 else.example http/1.1 TLSv1.3'))
  await shop.apply(
    configMap('ca.crt'),
    names('[{ type: Hostname, hostname: no.example }, { type: Hostname, hostname: web.example }]'),
  )
  t.same(await outcomes(), both('200 else.example http/1.1 TLSv1.3'))
  await shop.apply(configMap('ca.crt'), names('[{ type: Hostname, hostname: a.wild.example }]'))
  t.same(await outcomes(), both('200 else.example http/1.1 TLSv1.3'), 'by a wildcard of the certificate')
  await shop.apply(
    configMap('ca.crt'),
    names('[{ type: URI, uri: "spiffe://other.org/ns/a/sa/c" }, { type: Hostname, hostname: else.example }]'),
  )
  t.match(await outcomes(), failing(/the certificate has none of the names spiffe:..other.org.ns.a.sa.c, else.example/))
})

t.test('without its roots a policy lets nothing through, least of all plain text', async (t) => {
  const reason = (why: string) => both(new RegExp(`^503 UF BackendTLSPolicy shop/(in|out)side: .*${why}`))
  await shop.apply(policy(`${CA}, hostname: web.example`))
  t.match(await outcomes(), reason('ConfigMap shop/roots does not exist'))
  await shop.apply(configMap('ca.crt', 'tls.crt'), policy(`${CA}, hostname: web.example`))
  t.match(await outcomes(), reason('has no key ca.crt'))
  await shop.apply(configMap(''), policy(`${CA}, hostname: web.example`))
  t.match(await outcomes(), reason('holds no PEM certificate'))
  await shop.apply(configMap('ca.crt'), policy(CA))
  t.match(await outcomes(), reason('spec.validation.hostname: is missing'))
  await shop.apply(configMap('ca.crt'), policy(`${CA}, hostname: web.example`))
  t.same(await outcomes(), both('200 web.example http/1.1 TLSv1.3'))
})

t.test('a policy for one port leaves the others alone, and goes before one for all', async (t) => {
  await shop.apply(configMap('ca.crt'), policy(`${CA}, hostname: web.example`, ', sectionName: http'))
  t.same(await outcomes(), both('200 web.example http/1.1 TLSv1.3'))
  t.equal((await ask(services[0]?.address ?? '', '/', 81)).body, 'plain')
})

t.test('pooled connections do not outlive a change of the policy', async (t) => {
  await shop.apply(configMap('ca.crt'), policy(`${CA}, hostname: web.example`))
  t.same(await outcomes(), both('200 web.example http/1.1 TLSv1.3'))
  await shop.apply(configMap('other-ca.crt'), policy(`${CA}, hostname: web.example`))
  t.match(await outcomes(), failing(/unable|verify/))
})

t.test(
  'HTTP/2 is agreed on where the port is declared so, whatever the client speaks, and HTTP/1.1 elsewhere',
  async (t) => {
    await shop.apply(configMap('ca.crt'), policy(`${CA}, hostname: web.example`))
    for (const { address } of services) {
      for (const how of ['--http1.1', '--http2-prior-knowledge']) {
        const ask = async (port: number) =>
          (await client.exec('curl', ['-s', '-m', '8', how, `http://${address}:${port}/`])).stdout
        t.match(await ask(82), /^web.example\|h2\|.*\|HTTP\/2.0$/, how)
        t.match(await ask(80), /^web.example\|http\/1.1\|/, how)
      }
    }
  },
)

t.test('health checks take the same way', async (t) => {
  const checked = `
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: checked, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: inside }, { kind: Service, name: outside }]
  healthChecks: [{ type: HTTP, interval: 100ms, unhealthyThreshold: 1 }]`
  const outcome = async (name: string) => {
    const { stdout } = await shop.agent.cli('metrics', [])
    return stdout
      .split('\n')
      .filter((line) => line.startsWith('weir_health_checks_total{') && line.includes(`outcome="${name}"`))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  }
  await shop.apply(configMap('ca.crt'), policy(`${CA}, hostname: web.example`), checked)
  t.same(await outcomes(), both('200 web.example http/1.1 TLSv1.3'))
  while ((await outcome('passed')) < 8);
  t.equal(await outcome('failed'), 0)
  const from = shop.agent.logs.length
  await shop.apply(configMap('other-ca.crt'), policy(`${CA}, hostname: web.example`), checked)
  const { why } = await shop.agent.waitFor('endpoint unhealthy', { from })
  t.match(why, /^could not connect: TLS to the backend \(BackendTLSPolicy shop\/(in|out)side\): unable/)
})
