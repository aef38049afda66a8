/** The API server as the agent meets it: does it answer, how old is it, what time is it there, what may we do. */
import { Semaphore } from '#base'
import { type CheckLine, failureLine, okLine, warningLine } from '#contract'
import { type KubernetesApi, KubernetesError } from '#kubernetes'
import { serverClockLine } from './clock-lines.ts'
import { type Access, accessLine, neededAccess } from './needed-access.ts'
import { CHECK_TIMEOUT_MS, type Check, runChecks } from './run-checks.ts'
import { withServerDate } from './server-date.ts'

/** EndpointSlices, CEL rules and server-side field selectors as Weir uses them. */
const OLDEST = { major: 1, minor: 27 } as const
const PARALLEL = 8

/** Leaves the other questions time. */
const GREETING_MS = 3_000

export type AskedApi = Pick<KubernetesApi, 'request' | 'server'>

interface Greeting {
  readonly answers: boolean
  readonly lines: readonly CheckLine[]
}

export interface ClusterTimes {
  /** This node's clock, ms since the epoch. */
  readonly now: () => number
  /** Since when what is known of the cluster grows old, ms since the epoch; undefined while it does not. */
  readonly staleSince?: number | undefined
}

/** Is the server there; and the checks that need it, when it is. Never rejects, and takes CHECK_TIMEOUT_MS at most. */
export async function clusterLines(
  api: AskedApi,
  checks: readonly Check[],
  times: ClusterTimes,
): Promise<readonly CheckLine[]> {
  const begun = performance.now()
  let answers = false
  const run = async (): Promise<readonly CheckLine[]> => {
    const greeting = await greet(api, times)
    answers = greeting.answers
    return greeting.lines
  }
  const lines = await runChecks([{ name: 'API server', run }])
  if (!answers) return lines
  return [...lines, ...(await runChecks(checks, CHECK_TIMEOUT_MS - (performance.now() - begun)))]
}

/** Asks it nothing but its version. */
async function greet(api: AskedApi, { now, staleSince }: ClusterTimes): Promise<Greeting> {
  const stale = staleSince === undefined ? [] : [staleLine(staleSince)]
  try {
    const ask = () => api.request('GET', '/version', { timeoutMs: GREETING_MS })
    const { answer, clock } = await withServerDate(api.server, ask, now)
    const lines = [
      okLine(`API server ${api.server} answers`),
      ...versionLines(answer),
      serverClockLine(clock),
      ...stale,
    ]
    return { answers: true, lines }
  } catch (thrown) {
    if (!(thrown instanceof KubernetesError)) throw thrown
    const line = failureLine(`API server ${api.server} does not serve us`, `${thrown.message}; ${remedyFor(thrown)}`)
    return { answers: false, lines: [line, ...stale] }
  }
}

function remedyFor({ status }: KubernetesError): string {
  if (status === 401) return 'its token or certificate is not accepted: mount the service account anew'
  if (status === 403) return 'kubectl apply -f daemonset.yaml again: its role is missing'
  return 'look at the server, and at what is between it and this node'
}

function staleLine(since: number): CheckLine {
  return failureLine(
    `what is known of the cluster is from ${new Date(since).toISOString()}`,
    'serving goes on with it; it follows again once the API server answers',
  )
}

function versionLines(answer: unknown): readonly CheckLine[] {
  const isVersion = typeof answer === 'object' && answer !== null && 'gitVersion' in answer
  if (!isVersion) return [warningLine('the API server does not tell its version', 'is this a Kubernetes API server?')]
  const version = String(answer.gitVersion)
  const oldest = `${OLDEST.major}.${OLDEST.minor}`
  // Builds that nobody gave a version say v0.0.0-master+$Format:%H$.
  const [, major, minor] = /^v?([1-9]\d*)\.(\d+)/.exec(version) ?? []
  if (major === undefined || minor === undefined) {
    return [warningLine(`Kubernetes ${version}: cannot tell how old it is`, `see that it is ${oldest} or later`)]
  }
  const isOld = Number(major) < OLDEST.major || (Number(major) === OLDEST.major && Number(minor) < OLDEST.minor)
  if (!isOld) return [okLine(`Kubernetes ${version}`)]
  return [
    warningLine(`Kubernetes ${version} is older than ${oldest}`, 'Weir is not tried with it: upgrade the cluster'),
  ]
}

/** @throws KubernetesError when permissions cannot be asked for */
export async function accessLines(
  api: Pick<KubernetesApi, 'request'>,
  namespace: string,
  signal: AbortSignal,
): Promise<readonly CheckLine[]> {
  const needed = neededAccess(namespace)
  return [accessLine(await missingAccess(api, needed, signal), needed.length)]
}

/** Asks by SelfSubjectAccessReview, which everyone may. @throws KubernetesError when they cannot be asked */
export async function missingAccess(
  api: Pick<KubernetesApi, 'request'>,
  needed: readonly Access[],
  signal: AbortSignal,
): Promise<readonly Access[]> {
  const slots = new Semaphore(PARALLEL)
  const allowed = await Promise.all(needed.map((access) => slots.run(() => isAllowed(api, access, signal))))
  return needed.filter((_, i) => allowed[i] !== true)
}

async function isAllowed(api: Pick<KubernetesApi, 'request'>, access: Access, signal: AbortSignal): Promise<boolean> {
  const { group, verb, namespace, name } = access
  const [resource = '', subresource] = access.resource.split('/')
  const resourceAttributes = { group, resource, subresource, verb, namespace, name }
  const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec: { resourceAttributes } }
  const review = await api.request('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { body, signal })
  const status = typeof review === 'object' && review !== null && 'status' in review ? review.status : undefined
  return typeof status === 'object' && status !== null && 'allowed' in status && status.allowed === true
}
