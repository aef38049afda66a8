/** Numbers and reasons as findings tell them, and commands that exist. */
import type { NodeLook, PodSample } from './node-look.ts'

export function percent(part: number, whole: number): string {
  const share = whole === 0 ? 0 : (100 * part) / whole
  return share > 0 && share < 10 ? `${Number(share.toFixed(1))} %` : `${Math.round(share)} %`
}

export function durationWords(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`
  if (seconds < 120) return `${Math.round(seconds)} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

export function millis(ms: number): string {
  return ms < 10 ? `${Number(ms.toFixed(1))} ms` : `${Math.round(ms)} ms`
}

/** A workload or a Service, as a sentence names it. */
export function placeWords(name: string): string {
  return name === 'unknown' ? 'outside the mesh' : name
}

export function mebibytes(bytes: number): string {
  return `${Math.round(bytes / (1 << 20))} MiB`
}

/** What a reason of an `EdgeSample` means, as the end of a sentence. */
export function reasonWords(reason: string): string {
  const [flag = '', ...status] = reason.split(' ')
  const words = FLAG_WORDS[flag]
  if (words !== undefined) return words
  return flag === 'URX'
    ? `the application answers ${status.join(' ')}, also when it is tried again`
    : `the application answers ${status.join(' ')}`
}

/** The flags by which the mesh answers in its own name, or for want of an answer. */
const FLAG_WORDS: Readonly<Record<string, string>> = {
  UH: 'there is no endpoint that could be asked',
  UF: 'the connection to the endpoint fails',
  UC: 'the application closes the connection before it answers',
  UT: 'no answer comes in time',
  UPE: 'the answer is malformed',
  NR: 'its route leads nowhere',
  UO: 'a limit is reached (circuit breaker, or requests of one pod)',
  OM: 'the proxy sheds load',
  DR: 'the proxy drains',
  FI: 'a TrafficPolicy injects faults',
  BH: 'what is asked for is not declared, and only that may be called (REGISTRY_ONLY)',
}

/** Its failures come from the application, not from the mesh: what it depends on may be the cause. */
export function isApplications(reason: string): boolean {
  return /^(?:-|URX|UT) /.test(reason)
}

/** The likeliest first. */
export function byCount(reasons: Readonly<Record<string, number>>): readonly (readonly [string, number])[] {
  return Object.entries(reasons).sort((a, b) => b[1] - a[1])
}

export function explainCommand({ pods, world }: NodeLook, workload: string, service: string): string | undefined {
  const here = pods.find(({ owner }) => owner === workload)?.name
  const pod = workload === 'unknown' ? undefined : (here ?? world.podOf(workload))
  const url = world.urlOf(service)
  return pod === undefined || url === undefined ? undefined : `weir explain --from ${pod} --to ${url}`
}

/** What shows a few of the requests that went so, with path, policy and reason. @param which flags of weir tap */
export function tapCommand(source: string, target: string, which: string): string {
  return `weir tap --from ${source} --to ${target} ${which} --limit 3`
}

/** Of a pod of this node, where its log can be read. */
export function logsCommand({ pods }: NodeLook, workload: string): string | undefined {
  const pod = pods.find(({ owner, lastLogMs }) => owner === workload && lastLogMs !== undefined && lastLogMs > 0)
  return pod && podLogsCommand(pod)
}

/** Undefined where there is no log of it to read. */
export function podLogsCommand({ name, lastLogMs }: Pick<PodSample, 'name' | 'lastLogMs'>): string | undefined {
  return lastLogMs === undefined || lastLogMs === 0 ? undefined : `weir logs ${name} --since 10m`
}
