/**
 * `weir check`: is this node's mesh as it should be; one line per check, with the remedy. Exit 1 on a failure. With
 * --preflight: could it be, before an agent runs.
 */

import type { CheckLine, PodAnswer, ProblemAnswer, ProxyAnswer, StatusAnswer } from '#contract'
import { textValue } from './arguments.ts'
import { askJson, jsonOutput } from './ask-json.ts'
import { checkCertificates } from './check-certificates.ts'
import { EXIT_OK, EXIT_USAGE, EXIT_WRONG } from './exit-code.ts'
import { printable } from './table.ts'
import type { Verb, VerbResult } from './verb.ts'

/** Rules that were not verified for this long are as good as not verified. */
const STALE_MS = 60_000
const PREFLIGHT_ONLY = ['kubeconfig', 'cni-conf-dir', 'cni-bin-dir']

export const checkVerb: Verb = {
  name: 'check',
  summary: 'whether everything on this node is as it should be, with remedies',
  usage: '',
  options: {
    preflight: { type: 'boolean' },
    kubeconfig: { type: 'string' },
    'cni-conf-dir': { type: 'string' },
    'cni-bin-dir': { type: 'string' },
  },
  optionHelp: [
    '--preflight            look at this machine before an agent runs on it',
    '--kubeconfig FILE      with --preflight: look at that cluster too',
    '--cni-conf-dir DIR     with --preflight: network configuration; default /etc/cni/net.d',
    '--cni-bin-dir DIR      with --preflight: network plugins; default /opt/cni/bin',
  ],
  async run({ values, ask, json, nowMs, preflight }) {
    if (values['preflight'] === true) {
      const lines = await preflight({
        kubeconfig: textValue(values, 'kubeconfig'),
        cniConfDir: textValue(values, 'cni-conf-dir'),
        cniBinDir: textValue(values, 'cni-bin-dir'),
      })
      return checked(lines, json)
    }
    const stray = PREFLIGHT_ONLY.find((name) => values[name] !== undefined)
    if (stray !== undefined) {
      return {
        exitCode: EXIT_USAGE,
        output: '',
        error: `weir check takes --${stray} only with --preflight (see weir check --help)`,
      }
    }
    const status = await askJson<StatusAnswer>(ask, '/status')
    if (status.kind === 'failed') {
      const line: CheckLine = { result: 'failure', what: 'agent reachable', remedy: status.result.error ?? '' }
      // As --json promises JSON, the reason goes to stdout; otherwise the one line on stderr says it all.
      return json ? { ...status.result, output: jsonOutput([line]) } : status.result
    }
    const pods = await askJson<readonly PodAnswer[]>(ask, '/pods')
    if (pods.kind === 'failed') return pods.result
    const problems = await askJson<readonly ProblemAnswer[]>(ask, '/problems')
    if (problems.kind === 'failed') return problems.result
    const doctor = await askJson<readonly CheckLine[]>(ask, '/doctor')
    if (doctor.kind === 'failed') return doctor.result
    return checked([...decideChecks(status.value, pods.value, problems.value, nowMs), ...doctor.value], json)
  },
}

function checked(lines: readonly CheckLine[], json: boolean): VerbResult {
  const output = json ? jsonOutput(lines) : lines.map(renderLine).join('')
  return { exitCode: lines.some(({ result }) => result === 'failure') ? EXIT_WRONG : EXIT_OK, output }
}

export function decideChecks(
  status: StatusAnswer,
  pods: readonly PodAnswer[],
  problems: readonly ProblemAnswer[],
  nowMs: number,
): CheckLine[] {
  return [
    { result: 'ok', what: `agent reachable: node ${status.node}, pid ${status.pid}`, remedy: '' },
    status.ready
      ? { result: 'ok', what: 'agent ready', remedy: '' }
      : { result: 'failure', what: 'agent not ready', remedy: 'see the pods and problems below, and the agent log' },
    ...proxyChecks(status.proxies, status.worldVersion),
    ...podChecks(pods, status.node, nowMs),
    checkCertificates(status.issuer, status.identities, nowMs),
    ...problemChecks(problems),
  ]
}

function proxyChecks(proxies: readonly ProxyAnswer[], worldVersion: number): CheckLine[] {
  if (proxies.length === 0) {
    return [{ result: 'failure', what: 'no proxy runs', remedy: 'start the agent with --proxies 1 or more' }]
  }
  return proxies.map((proxy) => {
    const what = `proxy ${proxy.id} ${proxy.state}`
    if (proxy.state !== 'up') return { result: 'failure', what, remedy: 'see the agent log for why it stopped' }
    if (proxy.worldVersion >= worldVersion)
      return { result: 'ok', what: `${what}, world ${proxy.worldVersion}`, remedy: '' }
    const behind = `${what}, still at world ${proxy.worldVersion} of ${worldVersion}`
    return { result: 'warning', what: behind, remedy: 'ask again; if it stays behind, see the agent log' }
  })
}

function podChecks(pods: readonly PodAnswer[], node: string, nowMs: number): CheckLine[] {
  const opted = pods.filter(({ optedIn, state }) => optedIn && state !== 'outside')
  if (opted.length === 0) {
    // Pods elsewhere and none here: the problem about --node says what to do.
    if (pods.some((pod) => pod.node !== '') && !pods.some((pod) => pod.node === node)) return []
    const remedy = 'annotate a Pod (or label its Namespace) with weir.dev/mesh: enabled'
    return [{ result: 'warning', what: 'no pod of this node has opted in', remedy }]
  }
  return opted.map((pod) => podCheck(pod, nowMs))
}

function podCheck(pod: PodAnswer, nowMs: number): CheckLine {
  const name = `pod ${pod.namespace}/${pod.name}`
  if (pod.state === 'enrolling' || pod.state === 'draining') {
    return { result: 'warning', what: `${name} is ${pod.state}`, remedy: 'ask again in a moment' }
  }
  if (pod.state !== 'enrolled') {
    const remedy = pod.detail === '' ? 'see the agent log' : pod.detail
    return { result: 'failure', what: `${name} is not enrolled (${pod.state})`, remedy }
  }
  if (pod.verifiedAt === 0 || nowMs - pod.verifiedAt > STALE_MS) {
    const what = `${name} enrolled, but its rules were not verified within the last minute`
    return { result: 'failure', what, remedy: 'see the agent log; restart the agent if it does not go on' }
  }
  if (pod.repairs > 0) {
    const what = `${name} enrolled, rules verified, after ${pod.repairs} repairs`
    return { result: 'warning', what, remedy: 'find what removes the rules WEIR_* in that pod' }
  }
  return { result: 'ok', what: `${name} enrolled, rules verified`, remedy: '' }
}

function problemChecks(problems: readonly ProblemAnswer[]): CheckLine[] {
  if (problems.length === 0) return [{ result: 'ok', what: 'no problems', remedy: '' }]
  return problems.map(({ severity, subject, message, remedy }) => ({
    result: severity === 'error' ? 'failure' : 'warning',
    what: `${subject}: ${message}`,
    remedy,
  }))
}

function renderLine({ result, what, remedy }: CheckLine): string {
  return `${printable(`${result.padEnd(7)}  ${what}${remedy === '' ? '' : `: ${remedy}`}`)}\n`
}
