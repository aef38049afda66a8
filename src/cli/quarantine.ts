/**
 * `weir quarantine` and `weir release`: a pod is cut off, or no longer, by an annotation. In a cluster they set it if who
 * runs them may; else they say what to do, and exit 1, for it is not done.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { PodAnswer, StatusAnswer } from '#contract'
import { ANNOTATION } from '#contract'
import { textValue } from './arguments.ts'
import type { Ask } from './ask.ts'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_USAGE, EXIT_WRONG } from './exit-code.ts'
import type { Verb, VerbCall, VerbResult } from './verb.ts'

const EXITS = '0 set, and in force where the pod is on this node; 1 not so: do what the output says'
/** How long the agent may take to hear of it. */
const IN_FORCE_MS = 10_000
const ASK_AGAIN_MS = 100

export const quarantineVerb: Verb = {
  name: 'quarantine',
  summary: 'cut a pod off from all but a debugger, alive',
  does: 'Cuts a pod off from everything but the addresses allowed, while it stays alive to be examined.',
  usage: 'NAMESPACE/POD [--allow CIDR,...]',
  maxWords: 1,
  options: { allow: { type: 'string' }, kubeconfig: { type: 'string' } },
  optionHelp: [
    '--allow CIDR,...       who may still speak with it, e.g. 10.0.0.5/32; default: nobody',
    '--kubeconfig FILE      as whom to set it; default: as the pod that this runs in',
  ],
  examples: ['quarantine shop/web-6d4cf --allow 10.0.0.5/32'],
  exitHelp: EXITS,
  run: (call) => change(call, textValue(call.values, 'allow') ?? ''),
}

export const releaseVerb: Verb = {
  name: 'release',
  summary: 'end the quarantine of a pod',
  does: 'Ends the quarantine of a pod.',
  usage: 'NAMESPACE/POD',
  maxWords: 1,
  options: { kubeconfig: { type: 'string' } },
  optionHelp: ['--kubeconfig FILE      as whom to end it; default: as the pod that this runs in'],
  examples: ['release shop/web-6d4cf'],
  exitHelp: EXITS,
  run: (call) => change(call, undefined),
}

/** @param allow undefined: release */
async function change(call: VerbCall, allow: string | undefined): Promise<VerbResult> {
  const verb = allow === undefined ? 'release' : 'quarantine'
  const [, namespace, name] = /^([a-z0-9-]+)\/([a-z0-9.-]+)$/.exec(call.words[0] ?? '') ?? []
  if (namespace === undefined || name === undefined) {
    const error = `weir ${verb} needs one NAMESPACE/POD (see weir ${verb} --help)`
    return { exitCode: EXIT_USAGE, output: '', error }
  }
  const entries = (allow ?? '').split(',').filter((entry) => entry.trim() !== '')
  const bad = entries.find((entry) => !/^[0-9a-fA-F:.]+(\/\d{1,3})?$/.test(entry.trim()) || /\/0+$/.test(entry))
  if (bad !== undefined) {
    const error = `weir ${verb} --allow: expected a CIDR block such as 10.0.0.5/32, got ${JSON.stringify(bad)}`
    return { exitCode: EXIT_USAGE, output: '', error }
  }
  const pods = await askJson<readonly PodAnswer[]>(call.ask, '/pods')
  if (pods.kind === 'failed') return pods.result
  const status = await askJson<StatusAnswer>(call.ask, '/status')
  if (status.kind === 'failed') return status.result
  const pod = pods.value.find((one) => one.namespace === namespace && one.name === name)
  if (pod === undefined) {
    const error = `Pod ${namespace}/${name} is not known to the agent of ${status.value.node}; weir pods --all lists them`
    return { exitCode: EXIT_WRONG, output: '', error }
  }
  if (allow !== undefined && !pod.optedIn) {
    const error = `Pod ${namespace}/${name} is not in the mesh, and cannot be cut off: opt it in first (${ANNOTATION.mesh}: enabled)`
    return { exitCode: EXIT_WRONG, output: '', error }
  }
  const wanted: Wanted = { namespace, name, node: pod.node, allow: allow === undefined ? undefined : entries }
  if (status.value.source !== 'kubernetes') return told(call, wanted, '', manifestSteps(wanted, status.value.source))
  const kubeconfig = textValue(call.values, 'kubeconfig')
  const why = await call.annotatePod({ namespace, name, annotations: annotationsOf(wanted), kubeconfig })
  if (why !== undefined) return told(call, wanted, why, [kubectlCommand(wanted)])
  return pod.node === status.value.node ? await awaitForce(call, wanted) : elsewhere(call, wanted)
}

interface Wanted {
  readonly namespace: string
  readonly name: string
  readonly node: string
  /** Undefined: released. */
  readonly allow: readonly string[] | undefined
}

function annotationsOf({ allow }: Wanted): Record<string, string | null> {
  return {
    [ANNOTATION.quarantine]: allow === undefined ? null : 'true',
    [ANNOTATION.quarantineAllow]: allow === undefined || allow.length === 0 ? null : allow.join(','),
  }
}

function kubectlCommand(wanted: Wanted): string {
  const words = Object.entries(annotationsOf(wanted)).map(([key, value]) =>
    value === null ? `${key}-` : `${key}=${value}`,
  )
  return `kubectl annotate pod -n ${wanted.namespace} ${wanted.name} --overwrite ${words.join(' ')}`
}

function manifestSteps(wanted: Wanted, source: string): readonly string[] {
  const where = `In the manifest of Pod ${wanted.namespace}/${wanted.name} (${source})`
  const annotations = Object.entries(annotationsOf(wanted))
  const lines = annotations.flatMap(([key, value]) => (value === null ? [] : [`    ${key}: ${JSON.stringify(value)}`]))
  if (wanted.allow === undefined) {
    return [`${where}, below metadata.annotations, remove:`, ...annotations.map(([key]) => `    ${key}`)]
  }
  return [`${where}, write:`, 'metadata:', '  annotations:', ...lines]
}

/** Not done: `steps` say what to do. */
function told({ json }: VerbCall, wanted: Wanted, why: string, steps: readonly string[]): VerbResult {
  const output = json ? jsonOutput({ ...podOf(wanted), done: false, why, steps }) : `${steps.join('\n')}\n`
  const verb = wanted.allow === undefined ? 'release' : 'quarantine'
  const error = why === '' ? undefined : `weir ${verb} may not change pods here (${why}); someone who may does it so:`
  return { exitCode: EXIT_WRONG, output, ...(error === undefined || json ? {} : { error }) }
}

function elsewhere({ json }: VerbCall, wanted: Wanted): VerbResult {
  const text = `Set. Pod ${wanted.namespace}/${wanted.name} is on node ${wanted.node}: weir status there tells when it is in force.`
  return { exitCode: EXIT_OK, output: json ? jsonOutput({ ...podOf(wanted), done: true }) : `${text}\n` }
}

async function awaitForce(call: VerbCall, wanted: Wanted): Promise<VerbResult> {
  const { json } = call
  const name = `${wanted.namespace}/${wanted.name}`
  const inForce = await settles(call.ask, name, wanted.allow !== undefined)
  if (json) {
    return { exitCode: inForce ? EXIT_OK : EXIT_WRONG, output: jsonOutput({ ...podOf(wanted), done: true, inForce }) }
  }
  if (!inForce) {
    const error = `The annotation is set, but the agent does not go by it yet: see weir status`
    return { exitCode: EXIT_WRONG, output: '', error }
  }
  const allowed = wanted.allow?.length === 0 ? 'nobody' : wanted.allow?.join(', ')
  const text =
    wanted.allow === undefined
      ? `Pod ${name} is released.`
      : `Pod ${name} is in quarantine, in force; allowed: ${allowed}.`
  return { exitCode: EXIT_OK, output: `${text}\n` }
}

async function settles(ask: Ask, name: string, wanted: boolean): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < IN_FORCE_MS; waitedMs += ASK_AGAIN_MS) {
    const status = await askJson<StatusAnswer>(ask, '/status')
    if (status.kind === 'value') {
      const found = status.value.quarantined.find(({ pod }) => pod === name)
      if (wanted ? found?.inForce === true : found === undefined) return true
    }
    await sleep(ASK_AGAIN_MS)
  }
  return false
}

function podOf({ namespace, name, allow }: Wanted) {
  return { pod: `${namespace}/${name}`, quarantine: allow !== undefined, allow: allow ?? [] }
}
