/**
 * The pods of one node that the agent enrols, with what their annotations exclude. A bad entry of a list is told
 * and left out, so that what it meant stays inside the mesh: exclusions fail closed.
 */
import { isAbsolute, normalize } from 'node:path'
import { ANNOTATION } from '#contract'
import {
  canonicalCidr,
  isInvalid,
  type KubernetesObject,
  type PodObject,
  type Problem,
  type ValidObject,
} from '#resources'
import { compareText, indexPods, isFinished, isOptedIn, meshWords, podName, serviceAccountOf } from './pods.ts'
import { ProblemLog } from './problem-log.ts'

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
      excludeOutboundPorts: readEntries(
        pod,
        ANNOTATION.excludeOutboundPorts,
        parsePort,
        'a port from 1 to 65535',
        problems,
      ),
      excludeInboundPorts: readEntries(
        pod,
        ANNOTATION.excludeInboundPorts,
        parsePort,
        'a port from 1 to 65535',
        problems,
      ),
      excludeOutboundCidrs: readEntries(
        pod,
        ANNOTATION.excludeOutboundCidrs,
        canonicalCidr,
        'a CIDR block such as 10.0.0.0/8',
        problems,
      ),
      captureDns: readCaptureDns(pod, problems),
    })
  }
  return { enrolments: found, problems: problems.list() }
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

/** Each is a rule in the pod. */
const MAX_ENTRIES = 128
const MAX_SHOWN_CHARACTERS = 64

function readEntries<T>(
  pod: PodObject,
  annotation: string,
  parse: (text: string) => T | undefined,
  expected: string,
  problems: ProblemLog,
): T[] {
  const text = pod.metadata.annotations[annotation]
  if (text === undefined || text.trim() === '') return []
  const values = new Set<T>()
  const field = `metadata.annotations[${annotation}]`
  const entries = text.split(',', MAX_ENTRIES + 1).map((part) => part.trim())
  const bad = entries.slice(0, MAX_ENTRIES).filter((entry) => {
    const value = parse(entry)
    if (value !== undefined) values.add(value)
    return value === undefined
  })
  // One line for all: an annotation may be large, and is somebody else's.
  if (bad.length > 0) {
    const more =
      bad.length > 1 ? `, and ${bad.length - 1} more like it: these entries exclude` : '; this entry excludes'
    const got = JSON.stringify(bad[0]?.slice(0, MAX_SHOWN_CHARACTERS))
    problems.add(pod, field, `expected ${expected}, got ${got}${more} nothing`)
  }
  if (entries.length > MAX_ENTRIES) {
    problems.add(pod, field, `has more than ${MAX_ENTRIES} entries: those beyond exclude nothing; give ranges`)
  }
  return [...values]
}

function parsePort(text: string): number | undefined {
  return /^[1-9][0-9]{0,4}$/.test(text) && Number(text) <= 65535 ? Number(text) : undefined
}
