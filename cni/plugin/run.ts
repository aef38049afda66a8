/**
 * One call of the plugin, from environment and stdin to what is printed. It fails closed for opted-in pods and for
 * nobody else: a pod of an excluded namespace is never asked about, and while the agent is away the index decides.
 */
import type { CniReply, CniRequest, PodRef } from '../protocol.ts'
import type { Asked, AskLimits } from './ask-agent.ts'
import { type CallEnvironment, parseEnvironment } from './environment.ts'
import {
  type NetworkConfiguration,
  parseNetworkConfiguration,
  passedResult,
  resultAddresses,
} from './network-configuration.ts'
import { ERROR_CODE, failure, type Outcome, PREFERRED_VERSION, SUPPORTED_VERSIONS, success } from './outcome.ts'

export interface PluginWorld {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdin: string
  ask(socketPath: string, request: CniRequest, limits: AskLimits): Promise<Asked>
  /** What the index at that path says; a missing or unreadable one opts nobody in. */
  isIndexedAsOptedIn(indexPath: string, pod: PodRef): { readonly optedIn: boolean; readonly complaint?: string }
  wait(ms: number): Promise<void>
}

/** The agent says at once whether a pod is opted in, once it knows the pod; it waits less than this for that. */
const FIRST_LINE_MS = 8_000
const BEST_EFFORT_MS = 2_000
/** An agent that is being replaced listens again within this. */
const RESTART_MS = 3_000
const RETRY_MS = 100
const REMEDY =
  "see that the weir agent runs on this node (kubectl -n weir-system get pods -o wide), or remove the pod's opt-in (weir.dev/mesh)"

export async function runPlugin(world: PluginWorld): Promise<Outcome> {
  const parsed = parseEnvironment(world.env)
  if (parsed.kind === 'error') return failure(PREFERRED_VERSION, ERROR_CODE.invalidEnvironment, `weir: ${parsed.why}`)
  const { environment } = parsed
  const conf = parseNetworkConfiguration(world.stdin)
  if (environment.command === 'VERSION') {
    const cniVersion = conf?.cniVersion || PREFERRED_VERSION
    return success({ cniVersion, supportedVersions: SUPPORTED_VERSIONS })
  }
  if (conf === undefined) {
    return failure(
      PREFERRED_VERSION,
      ERROR_CODE.undecodable,
      'weir: the network configuration on stdin is not a JSON object',
    )
  }
  // A DEL never fails: what cannot be deleted would keep the pod for ever.
  if (environment.command !== 'DEL' && !SUPPORTED_VERSIONS.includes(conf.cniVersion)) {
    const why = `cniVersion ${JSON.stringify(conf.cniVersion)} is not supported, only ${SUPPORTED_VERSIONS.join(', ')} are`
    return failure(
      PREFERRED_VERSION,
      ERROR_CODE.incompatibleVersion,
      `weir: ${why}; change it in the network configuration`,
    )
  }
  const outcome = await act(world, environment, conf)
  const complaints = conf.complaints.map((line) => `weir: ${line}\n`).join('')
  return { ...outcome, stderr: complaints + outcome.stderr }
}

async function act(world: PluginWorld, environment: CallEnvironment, conf: NetworkConfiguration): Promise<Outcome> {
  const { key } = environment
  switch (environment.command) {
    case 'DEL':
      return await bestEffort(world, conf, { command: 'DEL', attachment: key })
    case 'GC':
      return await bestEffort(world, conf, { command: 'GC', network: conf.name, valid: conf.valid })
    case 'STATUS':
      return await status(world, conf)
    case 'CHECK':
      return await attach('CHECK', world, environment, conf)
    default:
      return await attach('ADD', world, environment, conf)
  }
}

/** ADD and CHECK: only an opted-in pod can fail. */
async function attach(
  command: 'ADD' | 'CHECK',
  world: PluginWorld,
  { key, netns, pod }: CallEnvironment,
  conf: NetworkConfiguration,
): Promise<Outcome> {
  const pass = command === 'ADD' ? success(passedResult(conf)) : success()
  if (pod === undefined || conf.excludeNamespaces.includes(pod.namespace)) return pass
  const addresses = resultAddresses(conf.prevResult)
  const request: CniRequest = { command, attachment: { ...key, network: conf.name, netns, pod, addresses } }
  const limits = { firstLineMs: Math.min(FIRST_LINE_MS, conf.timeoutMs), totalMs: conf.timeoutMs }
  const indexed = lazy(() => world.isIndexedAsOptedIn(conf.index, pod))

  let asked = await world.ask(conf.socket, request, limits)
  for (let waitedMs = 0; waitedMs < RESTART_MS; waitedMs += RETRY_MS) {
    if (asked.kind === 'reply' || !asked.refused || !indexed().optedIn) break
    await world.wait(RETRY_MS)
    asked = await world.ask(conf.socket, request, limits)
  }

  const name = `${pod.namespace}/${pod.name}`
  if (asked.kind === 'reply') {
    const { reply } = asked
    if (reply.kind === 'enrolled' || reply.kind === 'not-opted-in') return pass
    if (reply.kind === 'failed') {
      const msg = `weir: pod ${name} is opted in but was not enrolled: ${reply.why}`
      return failure(conf.cniVersion, ERROR_CODE.notEnrolled, msg)
    }
  }
  const { optedIn, complaint } = indexed()
  const stderr = complaint === undefined ? '' : `weir: ${complaint}\n`
  const why = asked.kind === 'away' ? asked.why : describe(asked.reply)
  if (!optedIn && !(asked.kind === 'away' && asked.saidOptedIn)) {
    return {
      ...pass,
      stderr: `${stderr}weir: pod ${name} passes, not known as opted in; the agent at ${conf.socket} ${why}\n`,
    }
  }
  const msg = `weir: pod ${name} is opted in but the node's agent at ${conf.socket} ${why}: ${REMEDY}`
  return { ...failure(conf.cniVersion, ERROR_CODE.tryAgainLater, msg), stderr }
}

async function bestEffort(world: PluginWorld, conf: NetworkConfiguration, request: CniRequest): Promise<Outcome> {
  const limits = { firstLineMs: BEST_EFFORT_MS, totalMs: BEST_EFFORT_MS }
  const asked = await world.ask(conf.socket, request, limits)
  return asked.kind === 'away'
    ? success(undefined, `weir: ${request.command} not told to the agent at ${conf.socket}, which ${asked.why}\n`)
    : success()
}

/**
 * Always ready. A STATUS that fails makes the runtime report the node's network as not ready: Kubernetes then taints
 * the node and evicts pods that never opted in, and starts none there, for as long as an agent takes to be replaced.
 * ADD without the agent harms nobody but opted-in pods, so that codes 50 and 51 would say more than is true; the
 * agent's own readiness tells that it is away.
 */
async function status(world: PluginWorld, conf: NetworkConfiguration): Promise<Outcome> {
  return await bestEffort(world, conf, { command: 'STATUS' })
}

function describe(reply: CniReply): string {
  return 'why' in reply ? `cannot tell: ${reply.why}` : `answered ${reply.kind}`
}

function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
