/** `weir pods NAMESPACE/NAME`: all about one pod. Exit 1 when it is not what it should be. */
import type { NamedObject, PodView } from '#contract'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_USAGE, EXIT_WRONG } from './exit-code.ts'
import { printable, renderAge, renderEnd, renderTable } from './table.ts'
import type { VerbCall, VerbResult } from './verb.ts'

export async function showPod(word: string, { ask, json, nowMs }: VerbCall): Promise<VerbResult> {
  const [namespace = '', name = '', ...rest] = word.split('/')
  if (name === '' || rest.length > 0) {
    const error = `weir pods: expected NAMESPACE/NAME, got ${JSON.stringify(word)}`
    return { exitCode: EXIT_USAGE, output: '', error }
  }
  const asked = await askJson<PodView>(ask, `/pods/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`)
  if (asked.kind === 'failed') return asked.result
  const pod = asked.value
  const exitCode = pod.state === 'failed' ? EXIT_WRONG : EXIT_OK
  return { exitCode, output: json ? jsonOutput(pod) : renderPod(pod, nowMs) }
}

function renderPod(pod: PodView, nowMs: number): string {
  const { identity, quarantine } = pod
  const facts: [string, string][] = [
    ['pod', `${pod.namespace}/${pod.name}`],
    ['node', pod.node === '' ? '-' : pod.here ? `${pod.node} (this one)` : pod.node],
    ['state', stateText(pod, nowMs)],
    ['addresses', pod.addresses.join(', ') || '-'],
    [
      'labels',
      Object.entries(pod.labels)
        .map(([label, value]) => `${label}=${value}`)
        .join(', ') || '-',
    ],
    ['identity', identity.spiffeId],
    ['certificate', certificateText(pod, nowMs)],
    [
      'connections',
      `${pod.connections}, requests in flight ${pod.requestsInFlight}, proxies ${pod.proxies.join(', ') || '-'}`,
    ],
    ...(quarantine === undefined
      ? []
      : [
          [
            'quarantine',
            `${quarantine.inForce ? 'in force' : 'NOT in force'}, but for ${quarantine.allow.join(', ') || 'nobody'}`,
          ] as [string, string],
        ]),
    ['services', pod.services.join(', ') || '-'],
  ]
  const width = Math.max(...facts.map(([name]) => name.length))
  const lines = facts.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}\n`)
  return [
    lines.join(''),
    renderObjects('ROUTE', pod.routes, 'No routes of its Services.'),
    renderObjects('POLICY', pod.policies, 'No policy applies to it.'),
    ...pod.rules.map(
      ({ family, text }) => `IPv${family} rules in the kernel:\n${text.split('\n').map(printable).join('\n')}\n`,
    ),
    ...(pod.rulesProblem === '' ? [] : [`No rules to be shown: ${printable(pod.rulesProblem)}\n`]),
  ].join('\n')
}

function stateText({ state, detail, optedIn, verifiedAt, repairs }: PodView, nowMs: number): string {
  const word = state === 'outside' ? (optedIn ? 'outside: ended, or on another node' : 'not in mesh') : state
  const verified = verifiedAt === 0 ? '' : `, verified ${renderAge(nowMs - verifiedAt)} ago, ${repairs} repairs`
  return `${word}${verified}${detail === '' ? '' : `: ${detail}`}`
}

function certificateText({ identity: { state, serial, notAfterMs, lastError } }: PodView, nowMs: number): string {
  if (state === 'none') return 'none on this node'
  const until = notAfterMs === 0 ? '' : `, serial ${serial}, ends ${renderEnd(notAfterMs - nowMs)}`
  return `${state}${until}${lastError === '' ? '' : `: ${lastError}`}`
}

function renderObjects(title: string, objects: readonly NamedObject[], none: string): string {
  if (objects.length === 0) return `${none}\n`
  return renderTable(
    [title, 'KIND', 'SAYS'],
    objects.map(({ name, kind, says }) => [name, kind, says]),
  )
}
