/**
 * What is left of earlier enrolments: records of pods that are gone, and network namespaces that still hold rules of ours
 * though nobody serves them, so that their connections go where no one listens.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type CheckLine, failureLine, INBOUND_PORT, OUTBOUND_PORT, okLine, warningLine } from '#contract'
import { listed } from './listed.ts'
import { addressesIn, listensOn, openedNetns, tracesIn } from './netns-look.ts'
import { readPodRecords } from './pod-records.ts'

export interface LeftoverOptions {
  readonly stateDir: string
  /** Where the node's network namespaces have their names. */
  readonly netnsDir: string
  /** Uids of the pods that the agent has to do with now; undefined when no agent runs. */
  readonly known: ReadonlySet<string> | undefined
  /** `namespace/name` of a pod of this node, by one of its addresses. */
  readonly podByAddress: ReadonlyMap<string, string>
  /** Namespaces that belong to no known pod are looked at too: not where another agent may share the directory. */
  readonly strangers: boolean
  readonly nowMs: number
}

/** Each namespace is a program or two: what is not looked at by then is said. Less than a check may take. */
const LOOK_MS = 3_000

export async function leftoverLines(options: LeftoverOptions, signal: AbortSignal): Promise<readonly CheckLine[]> {
  const { records, strange } = readPodRecords(options.stateDir, options.nowMs)
  const lines: CheckLine[] = []
  const gone = records.filter(({ uid }) => options.known?.has(uid) !== true).map(({ workload }) => workload)
  if (gone.length > 0) {
    const remedy =
      options.known === undefined
        ? 'start the agent again, which takes over or clears up; or weir uninstall'
        : 'restart the agent: it clears up what is left of them'
    lines.push(warningLine(`left over: records of ${gone.length} pods that are not served: ${listed(gone)}`, remedy))
  }
  if (strange.length > 0)
    lines.push(warningLine(`left over: files that are no records: ${listed(strange)}`, 'remove them'))
  const served = new Set(records.filter(({ uid }) => options.known?.has(uid)).map(({ identity }) => identity))
  const { found, left } = await strayNamespaces(options, served, signal)
  lines.push(...found)
  if (left > 0) {
    lines.push(
      warningLine(`left over: ${left} network namespaces were not looked at`, 'ask again when the node has less to do'),
    )
  }
  return lines.length === 0 ? [okLine('nothing is left over of earlier enrolments')] : lines
}

async function strayNamespaces(
  { netnsDir, podByAddress, strangers }: LeftoverOptions,
  served: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<{ readonly found: readonly CheckLine[]; readonly left: number }> {
  const names = namesIn(netnsDir)
  const found: CheckLine[] = []
  const begun = performance.now()
  for (const [i, name] of names.entries()) {
    if (signal.aborted || performance.now() - begun > LOOK_MS) return { found, left: names.length - i }
    const path = join(netnsDir, name)
    using netns = openedNetns(path)
    if (netns === undefined || served.has(netns.identity)) continue
    const pod = addressesIn(netns)
      .map((address) => podByAddress.get(address))
      .find((known) => known !== undefined)
    if (pod === undefined && !strangers) continue
    // An agent serves it: this one in a moment, or another one of this machine.
    if (listensOn(netns, INBOUND_PORT) || listensOn(netns, OUTBOUND_PORT)) continue
    const traces = await tracesIn(netns)
    if (traces.length > 0) found.push(strayLine(pod === undefined ? path : `pod ${pod} (${path})`, traces))
  }
  return { found, left: 0 }
}

function strayLine(whose: string, traces: readonly string[]): CheckLine {
  const remedy =
    'annotate the pod with weir.dev/mesh: enabled and take it off again, or restart the pod: its connections fail'
  return failureLine(`left over: ${whose} is not enrolled and has ${traces.join(' and ')}`, remedy)
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort()
  } catch {
    return []
  }
}
