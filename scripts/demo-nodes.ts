/** The demo of two nodes: who proves what to whom, what can be read on the wire between them, and a revocation. */
import { join } from 'node:path'
import type { Lab, LabNode, LabPod } from '../test/support/lab.ts'
import type { LabAgent, LogLine } from '../test/support/lab-agent.ts'
import type { CapturedTraffic } from '../test/support/lab-pcap.ts'
import { check, cleanUp, curl, keepUntilInterrupted, rulesOf, SERVER, say, step } from './demo-stage.ts'

const WEIR = join(import.meta.dirname, 'weir')
const SECRET = 'card-4111-1111'
const HBONE_PORT = 15008

export async function showTwoNodes(lab: Lab, keep: boolean): Promise<void> {
  const [here, there] = lab.nodes
  if (here === undefined || there === undefined) throw new Error('The demo needs two nodes')
  step('Two nodes, and a network between them')
  const spec = (name: string) => ({ name, namespace: 'shop', serviceAccount: name, labels: { app: name } })
  const client = await here.addPod(spec('client'))
  const other = await here.addPod(spec('other'))
  const web = await there.addPod(spec('web'))
  const plain = await there.addPod({ ...spec('plain'), optedIn: false })
  await Promise.all([web.node(SERVER, ['web']), plain.node(SERVER, ['plain'])])
  const rulesBefore = await rulesOf(client)
  const caDir = join(lab.dir, 'ca')
  const options = { proxies: 1, extraArgs: ['--ca-dir', caDir] }
  const near = await here.startAgent(options)
  const far = await there.startAgent(options)
  say('node-1: pods client and other; node-2: pods web, and plain, which is not in the mesh')
  say('Each agent has a certificate for every service account of its own pods, and for no others:')
  const serial = await showIdentities(near, here)
  await showIdentities(far, there)

  step('A call from node to node')
  const answer = await curl(client, `http://${web.ipv4}:8080/`)
  check(answer.startsWith('200') && answer.includes('sa/client'), 'web learns its caller')
  say('What both agents have seen (access log):')
  await showRequest(near, here, '/')
  await showRequest(far, there, '/')

  step('What someone on the network between the nodes can read')
  say('tcpdump between the nodes, while other sends a card number, first to web, then to plain:')
  const capture = await lab.capture(here)
  // The tunnel of the first call stands; another pod opens its own before our eyes.
  const order = `/order?card=${SECRET}`
  check((await curl(other, `http://${web.ipv4}:8080${order}`)).startsWith('200'), 'web answers')
  check((await curl(other, `http://${plain.ipv4}:8080${order}`)).startsWith('200'), 'plain answers')
  showWire(await capture.stop())

  step('Someone who knocks without a certificate')
  await showKnock(here, web.ipv4, far)

  step('A revoked identity')
  const url = `http://${web.ipv4}:8080/`
  await showRevocation({ here, near, far, client, other, url, caDir, serial })

  if (keep) {
    await keepUntilInterrupted(`The two nodes stay. On them, for example:
   scripts/lab exec ${lab.id} shop/other curl -s http://${web.ipv4}:8080/
   scripts/weir status --state-dir ${here.stateDir}
   scripts/weir ca revoke SERIAL --ca-dir ${caDir}`)
  }
  await cleanUp([near, far], client, rulesBefore)
}

/** @returns the serial number of the first. */
async function showIdentities(agent: LabAgent, node: LabNode): Promise<string> {
  const { stdout } = await agent.cli('status')
  const lines = stdout.split('\n')
  const from = lines.findIndex((line) => line.startsWith('IDENTITY'))
  const table = lines.slice(from, lines.indexOf('', from))
  say(`${node.name}$ weir status`)
  say(table.join('\n'))
  const serial = /\b[0-9A-F]{16,}\b/.exec(table[1] ?? '')?.[0]
  check(serial !== undefined, 'there is a certificate')
  return serial ?? ''
}

async function showRequest(agent: LabAgent, node: LabNode, path: string): Promise<void> {
  const line = await agent.waitFor((one) => one['msg'] === 'request' && one['path'] === path)
  say(
    `${node.name}: ${line['method']} ${path} ${line['status']}  ${line['sourceIdentity']} -> ${line['destinationIdentity']}`,
  )
}

/** Every byte that passed is in `traffic`: a capture that lost one fails. */
function showWire({ flows }: CapturedTraffic): void {
  const isTunnel = (port: number) => port === HBONE_PORT
  const tunnel = flows.filter((flow) => isTunnel(flow.sourcePort) || isTunnel(flow.destinationPort))
  const rest = flows.filter((flow) => !tunnel.includes(flow))
  const hello = tunnel.map(({ payload }) => readServerHello(payload)).find((found) => found !== undefined)
  const bytes = tunnel.reduce((sum, { payload }) => sum + payload.length, 0)
  const seen = (list: typeof flows) => list.some(({ payload }) => payload.includes(SECRET))
  check(hello !== undefined && bytes > 1000, 'the tunnel was captured')
  check(!seen(tunnel), 'nothing in the tunnel can be read')
  check(seen(rest), 'what goes to a pod outside the mesh can be read')
  say(`to web:   ${bytes} bytes to and from port ${HBONE_PORT}, ${hello}; "${SECRET}" is not in them`)
  const [line = ''] =
    rest
      .find(({ payload }) => payload.includes(SECRET))
      ?.payload.toString()
      .split('\r\n') ?? []
  say(`to plain: ${line}`)
}

/** Version and cipher that a TLS server has chosen (RFC 8446 section 4.1.3): said in the clear, before all else. */
function readServerHello(stream: Buffer): string | undefined {
  const [handshake, serverHello, supportedVersions] = [22, 2, 43]
  if (stream[0] !== handshake || stream[5] !== serverHello) return undefined
  const sessionId = 43
  const cipherAt = sessionId + 1 + (stream[sessionId] ?? 0)
  const cipher = CIPHERS.get(stream.readUInt16BE(cipherAt)) ?? 'an unknown cipher'
  const end = cipherAt + 5 + stream.readUInt16BE(cipherAt + 3)
  for (let at = cipherAt + 5; at < end; at += 4 + stream.readUInt16BE(at + 2)) {
    if (stream.readUInt16BE(at) === supportedVersions && stream.readUInt16BE(at + 4) === 0x0304) {
      return `TLS 1.3 with ${cipher}`
    }
  }
  return undefined
}

const CIPHERS: ReadonlyMap<number, string> = new Map([
  [0x1301, 'TLS_AES_128_GCM_SHA256'],
  [0x1302, 'TLS_AES_256_GCM_SHA384'],
])

/** Seen from a node, whose own connections nobody intercepts. */
async function showKnock(node: LabNode, address: string, far: LabAgent): Promise<void> {
  const from = far.logs.length
  const show = 'openssl x509 -noout -ext subjectAltName -enddate'
  const command = `openssl s_client -connect ${address}:${HBONE_PORT} -alpn h2 2>/dev/null </dev/null | ${show}`
  say(`${node.name}$ ${command}`)
  const { stdout } = await node.exec('sh', ['-c', command])
  say(stdout.trimEnd())
  check(stdout.includes('sa/web'), 'web shows its certificate')
  const refused = await far.waitFor((line) => /no certificate/.test(String(line['reason'])), { from })
  say(`node-2: ${refused['reason']}`)
}

interface Scene {
  readonly here: LabNode
  readonly near: LabAgent
  readonly far: LabAgent
  readonly client: LabPod
  readonly other: LabPod
  readonly url: string
  readonly caDir: string
  /** Of the client's certificate. */
  readonly serial: string
}

async function showRevocation({ here, near, far, client, other, url, caDir, serial }: Scene): Promise<void> {
  const from = [near.logs.length, far.logs.length] as const
  say(`$ weir ca revoke ${serial} --ca-dir DIR`)
  const { stdout } = await here.exec(WEIR, ['ca', 'revoke', serial, '--ca-dir', caDir])
  say(stdout.replace(caDir, 'DIR').trimEnd())
  const inForce = 'revocation list in force'
  await Promise.all([near.waitFor(inForce, { from: from[0] }), far.waitFor(inForce, { from: from[1] })])
  say('Nothing was restarted. The same call again, and that of a pod which is not revoked:')
  check((await curl(client, url)).startsWith('503'), 'the revoked client is refused')
  check((await curl(other, url)).startsWith('200'), 'the other pod is not')
  const asked = (line: LogLine) => line['status'] === 503 && line['source'] === 'shop/client'
  const refused = (line: LogLine) => /^tunnel refused: .*is revoked/.test(String(line['reason']))
  say(`node-1: ${(await near.waitFor(asked, { from: from[0] }))['reason']}`)
  say(`node-2: ${(await far.waitFor(refused, { from: from[1] }))['reason']}`)
  say('Its next certificate works again; each is replaced at half its life.')
}
