/**
 * A pod in the mesh: its namespace held open, its listeners, its rules. Making one, changing one and undoing
 * one step by step; when, and one at a time, is the enroller's business.
 */
import { statSync } from 'node:fs'
import { errorLine, WeirError } from '#base'
import {
  closeFd,
  legacyTableSize,
  netnsIdentity,
  nftablesGeneration,
  openLegacyTablesSocket,
  openNetfilterSocket,
  openNetns,
  openRouteWatch,
  takeRouteChange,
  withNetns,
} from '#linux'
import { closeListeners, type HeldListener, isServing, openListeners, reopenListeners } from '../broker/listeners.ts'
import { findMarkSysctlsOff } from '../iptables/mark-sysctls.ts'
import {
  applyRules,
  type Exclusions,
  inspectPod,
  leaveInQuarantine,
  type RulesBefore,
  type RulesContext,
  removeRedirects,
  removeTraces,
  repairRules,
  type SavedByFamily,
} from '../iptables/pod-rules.ts'
import type { EnrolmentWish } from './wish.ts'

export interface EnrolledPod {
  readonly wish: EnrolmentWish
  readonly path: string
  /** Device and inode of the namespace. */
  readonly identity: string
  readonly context: RulesContext
  readonly before: RulesBefore
  readonly probes: readonly ChangeProbe[]
  listeners: readonly HeldListener[]
  exclusions: Exclusions
  /** What was found when the pod was opened; used by the first `installRules`, then forgotten. */
  inspected: SavedByFamily | undefined
  closed: boolean
}

/** A cheap question whose answer changes whenever rules or routes of the pod change. */
interface ChangeProbe {
  /** To be closed; -1 for none. */
  readonly fd: number
  ask(): string
}

/** What an earlier agent left of this very namespace. */
export interface LeftByOthers {
  /** What it found before it changed anything. */
  readonly remembered: (identity: string) => RulesBefore | undefined
  /** Sockets that it handed over, the caller's from then on. */
  readonly takeListeners: (identity: string) => readonly HeldListener[]
}

/**
 * Opens namespace and listeners; no rule is in yet. @throws WeirError one line, with the remedy, nothing left open
 */
export async function preparePod(
  wish: EnrolmentWish,
  lockDir: string,
  { remembered, takeListeners }: LeftByOthers,
): Promise<EnrolledPod> {
  if (wish.netns === undefined) {
    throw new WeirError(
      'WEIR_AGENT_NO_NETNS',
      'No network namespace is known: neither the CNI plugin nor a container runtime (--cri-socket) has told one, nor, with --manifests, the annotation weir.dev/netns.',
    )
  }
  const netnsFd = openNetns(wish.netns)
  let listeners: readonly HeldListener[] = []
  try {
    const identity = netnsIdentity(netnsFd)
    if (identity === ownIdentity()) {
      throw new WeirError(
        'WEIR_AGENT_NETNS_OWN',
        `${wish.netns} is the node's own network namespace, which is never enrolled.`,
      )
    }
    const context = { netnsFd, lockDir }
    const inspected = await inspectPod(context)
    const before = (inspected.hasRemains ? remembered(identity) : undefined) ?? inspected.before
    listeners = openListeners(netnsFd, before.families, takeListeners(identity))
    const probes = openProbes(netnsFd, before)
    return {
      wish,
      path: wish.netns,
      identity,
      context,
      before,
      probes,
      listeners,
      exclusions: wish,
      inspected: inspected.saved,
      closed: false,
    }
  } catch (thrown) {
    closeListeners(listeners)
    closeFd(netnsFd)
    throw thrown
  }
}

export async function installRules(pod: EnrolledPod, exclusions: Exclusions): Promise<void> {
  const { inspected } = pod
  pod.inspected = undefined
  await applyRules(pod.context, pod.before, exclusions, inspected)
  pod.exclusions = exclusions
}

export async function repairPodRules(pod: EnrolledPod): Promise<readonly string[]> {
  return await repairRules(pod.context, pod.before, pod.exclusions)
}

export function stopRedirecting(pod: EnrolledPod): Promise<void> {
  return removeRedirects(pod.context, pod.before)
}

/** Instead of `stopRedirecting` and `clearTraces`: the agent ends, the quarantine does not. */
export function leaveCutOff(pod: EnrolledPod): Promise<void> {
  return leaveInQuarantine(pod.context, pod.before, pod.exclusions)
}

export function clearTraces(pod: EnrolledPod): Promise<void> {
  return removeTraces(pod.context, pod.before)
}

/**
 * Opens listeners again that have stopped listening. Returns what was wrong, and the dead sockets, to be closed
 * once the proxies have the new ones.
 */
export function repairListeners(pod: EnrolledPod): {
  readonly wrong: readonly string[]
  readonly dead: readonly HeldListener[]
} {
  const before = pod.listeners
  pod.listeners = reopenListeners(pod.context.netnsFd, before)
  const dead = before.filter((listener) => !pod.listeners.includes(listener))
  return { wrong: dead.map(({ spec }) => `IPv${spec.family} ${spec.direction} listener`), dead }
}

/** Opens all listeners of a pod that had given them up. */
export function restoreListeners(pod: EnrolledPod): void {
  if (pod.listeners.length === 0) pod.listeners = openListeners(pod.context.netnsFd, pod.before.families)
}

/** True when all held listeners listen (and there are any). */
export function listenersAreUp(pod: EnrolledPod): boolean {
  return pod.listeners.length > 0 && pod.listeners.every(isServing)
}

/** Text that differs after any change of the pod's rules or routes. */
export function rulesFingerprint(pod: EnrolledPod): string {
  return pod.probes.map((probe) => probe.ask()).join(' ')
}

/** `same`, or what has become of the path the pod was enrolled by. */
export function namespaceAtPath(pod: EnrolledPod): 'same' | 'other' | 'gone' {
  try {
    const stat = statSync(pod.path, { bigint: true })
    return `${stat.dev}:${stat.ino}` === pod.identity ? 'same' : 'other'
  } catch {
    return 'gone'
  }
}

/** The proxies keep their copies; the agent's end here. */
export function releaseListeners(pod: EnrolledPod): void {
  closeListeners(pod.listeners)
  pod.listeners = []
}

export function closePod(pod: EnrolledPod): void {
  if (pod.closed) return
  pod.closed = true
  releaseListeners(pod)
  for (const { fd } of pod.probes) if (fd >= 0) closeFd(fd)
  closeFd(pod.context.netnsFd)
}

let own: string | undefined

function ownIdentity(): string {
  if (own === undefined) {
    const fd = openNetns('/proc/self/ns/net')
    own = netnsIdentity(fd)
    closeFd(fd)
  }
  return own
}

function openProbes(netnsFd: number, before: RulesBefore): readonly ChangeProbe[] {
  return withNetns(netnsFd, () => {
    if (before.backend === 'nft') {
      const fd = openNetfilterSocket()
      return [openRouteProbe(), sysctlProbe(netnsFd), { fd, ask: () => String(nftablesGeneration(fd)) }]
    }
    const tables = before.families.map((family) => {
      const fd = openLegacyTablesSocket(family)
      const ask = () => ['nat', 'filter'].map((table) => legacyTableSize(fd, family, table)).join()
      return { fd, ask }
    })
    return [openRouteProbe(), sysctlProbe(netnsFd), ...tables]
  })
}

/** Looked at every other second: nobody tells of these. */
const SYSCTL_EVERY = 8

function sysctlProbe(netnsFd: number): ChangeProbe {
  let asked = 0
  let off = ''
  return {
    fd: -1,
    ask: () => {
      if (asked++ % SYSCTL_EVERY === 0) off = findMarkSysctlsOff(netnsFd).join()
      return off
    },
  }
}

function openRouteProbe(): ChangeProbe {
  const fd = openRouteWatch()
  let changes = 0
  return {
    fd,
    ask: () => {
      if (takeRouteChange(fd)) changes += 1
      return String(changes)
    },
  }
}

/** `shop/web: …`, one line. */
export function podProblem(wish: EnrolmentWish, thrown: unknown): string {
  return `Pod ${wish.namespace}/${wish.name}: ${errorLine(thrown)}`
}
