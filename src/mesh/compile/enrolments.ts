/**
 * The pods of one node that the agent enrols, with what their annotations exclude. A bad entry of a list is told
 * and left out, so that what it meant stays inside the mesh: exclusions fail closed.
 */
import { isAbsolute, normalize } from 'node:path'
import { ANNOTATION } from '#contract'
import {
  canonicalNetwork,
  isInvalid,
  type KubernetesObject,
  type NodeObject,
  type PodObject,
  type Problem,
  type ValidObject,
} from '#resources'
import { type ListWords, readEntries } from './list-entries.ts'
import { compareText, indexPods, isFinished, isOptedIn, meshWords, podName, serviceAccountOf } from './pods.ts'
import { hostAddressesOf, probesOf } from './probes.ts'
import { ProblemLog } from './problem-log.ts'
import { readQuarantine } from './quarantine.ts'

export interface Enrolment {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  /** Path of the network namespace, by annotation; absent where the container runtime has to be asked. */
  readonly netns?: string
  readonly addresses: readonly string[]
  readonly serviceAccount: string
  readonly excludeOutboundPorts: readonly number[]
  readonly excludeInboundPorts: readonly number[]
  /** Canonical, with the prefix length always written. */
  readonly excludeOutboundCidrs: readonly string[]
  /** True unless the annotation says `disabled`. */
  readonly captureDns: boolean
  readonly quarantine?: EnrolledQuarantine
}

/** What the kernel still lets through. */
export interface EnrolledQuarantine {
  /** Network address and prefix length. */
  readonly allow: readonly string[]
  /** Where the kubelet's probes come from, and the ports that they go to. */
  readonly probeHosts: readonly string[]
  readonly probePorts: readonly number[]
}

export interface Enrolments {
  readonly enrolments: readonly Enrolment[]
  /** Only those of the annotations read here; compileWorld tells the others. */
  readonly problems: readonly Problem[]
}

/** Opted-in pods whose spec.nodeName is `node` and that have not finished, by namespace and name. */
export function enrolments(objects: readonly KubernetesObject[], node: string): Enrolments {
  const valid = objects.filter((object): object is ValidObject => !isInvalid(object))
  const pods = valid.filter((object) => object.kind === 'Pod')
  const toldElsewhere = new ProblemLog()
  const index = indexPods(pods, toldElsewhere)
  const words = meshWords(
    valid.filter((object) => object.kind === 'Namespace'),
    toldElsewhere,
  )
  const local = pods
    .filter((pod) => pod.spec.nodeName === node && !isFinished(pod) && isOptedIn(pod, words, toldElsewhere))
    .sort((a, b) => compareText(podName(a), podName(b)))

  const nodes = new Map(
    valid.filter((object) => object.kind === 'Node').map((one) => [one.metadata.name, one] as const),
  )
  const problems = new ProblemLog()
  const holders = new Map<string, string>()
  const found: Enrolment[] = []
  for (const pod of local) {
    const netns = readNetns(pod, problems)
    const holder = netns === undefined ? undefined : holders.get(netns)
    if (holder !== undefined) {
      const message = `${netns} is already the network namespace of Pod ${holder}: this pod is not enrolled`
      problems.add(pod, `metadata.annotations[${ANNOTATION.netns}]`, message)
      continue
    }
    if (netns !== undefined) holders.set(netns, podName(pod))
    found.push({
      uid: index.uids.get(pod) ?? podName(pod),
      namespace: pod.metadata.namespace,
      name: pod.metadata.name,
      ...(netns === undefined ? {} : { netns }),
      addresses: index.addresses.get(pod) ?? [],
      serviceAccount: serviceAccountOf(pod),
      excludeOutboundPorts: readEntries(pod, ANNOTATION.excludeOutboundPorts, parsePort, PORTS, problems),
      excludeInboundPorts: readEntries(pod, ANNOTATION.excludeInboundPorts, parsePort, PORTS, problems),
      excludeOutboundCidrs: readEntries(pod, ANNOTATION.excludeOutboundCidrs, canonicalNetwork, BLOCKS, problems),
      captureDns: readCaptureDns(pod, problems),
      ...quarantineOf(pod, nodes.get(pod.spec.nodeName ?? ''), toldElsewhere),
    })
  }
  return { enrolments: found, problems: problems.list() }
}

const PORTS: ListWords = { expected: 'a port from 1 to 65535', effect: 'excludes', plural: 'exclude' }
const BLOCKS: ListWords = { expected: 'a CIDR block such as 10.0.0.0/8', effect: 'excludes', plural: 'exclude' }

function quarantineOf(
  pod: PodObject,
  node: NodeObject | undefined,
  problems: ProblemLog,
): Pick<Enrolment, 'quarantine'> {
  const quarantine = readQuarantine(pod, problems)
  if (quarantine === undefined) return {}
  const probePorts = [...new Set(probesOf(pod).map(({ port }) => port))].sort((a, b) => a - b)
  return { quarantine: { allow: quarantine.allow, probeHosts: hostAddressesOf(pod, node), probePorts } }
}

function readNetns(pod: PodObject, problems: ProblemLog): string | undefined {
  const text = pod.metadata.annotations[ANNOTATION.netns]
  if (text === undefined) return undefined
  if (isAbsolute(text) && normalize(text) === text && !text.includes('\0')) return text
  const field = `metadata.annotations[${ANNOTATION.netns}]`
  problems.add(pod, field, `expected an absolute path such as /run/netns/NAME, got ${JSON.stringify(text)}`)
  return undefined
}

function readCaptureDns(pod: PodObject, problems: ProblemLog): boolean {
  const text = pod.metadata.annotations[ANNOTATION.dns]
  if (text !== undefined && text !== 'enabled' && text !== 'disabled') {
    const message = `expected enabled or disabled, got ${JSON.stringify(text)}; queries are captured`
    problems.add(pod, `metadata.annotations[${ANNOTATION.dns}]`, message)
  }
  return text !== 'disabled'
}

function parsePort(text: string): number | undefined {
  return /^[1-9][0-9]{0,4}$/.test(text) && Number(text) <= 65535 ? Number(text) : undefined
}
