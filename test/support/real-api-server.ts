/**
 * A real kube-apiserver over a real etcd, on loopback ports and in a temporary directory. KUBEBUILDER_ASSETS names
 * the folder with both programs, as controller-runtime's setup-envtest makes it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

export interface RealApiServer extends AsyncDisposable {
  /** Path of a kubeconfig for that user: `admin` may do everything, others what RBAC grants them. */
  kubeconfig(user: 'admin' | 'weir'): Promise<string>
  /** Ends the kube-apiserver, not etcd. */
  stop(): Promise<void>
  /** Starts it again where it was. */
  start(): Promise<void>
}

const USERS = { admin: 'system:masters', weir: '' } as const
const START_TIMEOUT_MS = 60_000

/** Undefined where KUBEBUILDER_ASSETS does not name a folder with etcd and kube-apiserver. */
export function realApiServerFolder(): string | undefined {
  const folder = process.env['KUBEBUILDER_ASSETS']
  const programs = ['etcd', 'kube-apiserver']
  return folder !== undefined && programs.every((name) => existsSync(join(folder, name))) ? folder : undefined
}

export async function startRealApiServer(folder: string): Promise<RealApiServer> {
  await using opened = new AsyncDisposableStack()
  const directory = await mkdtemp(join(tmpdir(), 'weir-apiserver-'))
  opened.defer(() => rm(directory, { recursive: true, force: true }))
  const [clientPort, peerPort, port] = await freePorts(3)
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  await writeFile(join(directory, 'sa.key'), privateKey, { mode: 0o600 })
  await writeFile(join(directory, 'sa.pub'), publicKey)
  const tokens = Object.entries(USERS).map(([user, group]) => `${user}-token,${user},${user}${group && `,${group}`}\n`)
  await writeFile(join(directory, 'tokens.csv'), tokens.join(''), { mode: 0o600 })
  const etcdUrl = `http://127.0.0.1:${clientPort}`
  const peerUrl = `http://127.0.0.1:${peerPort}`
  const etcd = new Program(join(folder, 'etcd'), [
    `--data-dir=${join(directory, 'etcd')}`,
    `--listen-client-urls=${etcdUrl}`,
    `--advertise-client-urls=${etcdUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
  ])
  opened.use(etcd)
  await etcd.until(() => answers(`${etcdUrl}/health`))
  const server = `https://127.0.0.1:${port}`
  const startServer = async (): Promise<Program> => {
    const program = new Program(join(folder, 'kube-apiserver'), [
      `--etcd-servers=${etcdUrl}`,
      `--secure-port=${port}`,
      '--bind-address=127.0.0.1',
      `--cert-dir=${directory}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${join(directory, 'sa.pub')}`,
      `--service-account-signing-key-file=${join(directory, 'sa.key')}`,
      `--token-auth-file=${join(directory, 'tokens.csv')}`,
      '--authorization-mode=RBAC',
      '--service-cluster-ip-range=10.96.0.0/24',
      '--disable-admission-plugins=ServiceAccount',
      '--allow-privileged=true',
    ])
    const ready = `https://127.0.0.1:${port}/readyz`
    await program.until(async () => await answersTls(ready, join(directory, 'apiserver.crt')))
    return program
  }
  let running: Program | undefined = await startServer()
  opened.defer(async () => await running?.[Symbol.asyncDispose]())
  const stack = opened.move()
  return {
    kubeconfig: async (user) => {
      const config = {
        'current-context': 'real',
        contexts: [{ name: 'real', context: { cluster: 'real', user } }],
        clusters: [{ name: 'real', cluster: { server, 'certificate-authority': 'apiserver.crt' } }],
        users: [{ name: user, user: { token: `${user}-token` } }],
      }
      const path = join(directory, `kubeconfig-${user}`)
      await writeFile(path, JSON.stringify(config), { mode: 0o600 })
      return path
    },
    stop: async () => {
      await running?.[Symbol.asyncDispose]()
      running = undefined
    },
    start: async () => {
      running ??= await startServer()
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

class Program implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #exit: Promise<unknown>
  readonly #name: string
  #text = ''
  #ended = false

  constructor(path: string, args: readonly string[]) {
    const { NODE_OPTIONS: _, ...env } = process.env
    this.#name = path
    this.#child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
    this.#exit = once(this.#child, 'exit').then(
      () => {
        this.#ended = true
      },
      () => {
        this.#ended = true
      },
    )
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#text = `${this.#text}${chunk.toString()}`.slice(-4000)
      })
    }
  }

  /** Asks again and again: nothing tells when it is ready. Throws with the last lines when it ends or takes too long. */
  async until(isReady: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS
    while (!(await isReady())) {
      if (this.#ended || performance.now() > deadline) throw new Error(`${this.#name} did not start: ${this.#text}`)
      await wait(100)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exit
  }
}

async function answers(url: string): Promise<boolean> {
  return await fetch(url).then(
    ({ ok }) => ok,
    () => false,
  )
}

async function answersTls(url: string, caPath: string): Promise<boolean> {
  const { request } = await import('node:https')
  const ca = await readFile(caPath).catch(() => undefined)
  if (ca === undefined) return false
  return await new Promise((resolve) => {
    const asked = request(url, { ca, headers: { authorization: 'Bearer admin-token' }, agent: false }, (answer) => {
      answer.resume()
      resolve(answer.statusCode === 200)
    })
    asked.on('error', () => resolve(false))
    asked.end()
  })
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  return servers.map((server) => {
    const address = server.address()
    server.close()
    return typeof address === 'object' && address !== null ? address.port : 0
  })
}
