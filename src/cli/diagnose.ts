/** `weir diagnose`: what is wrong now, the worst first, each with what it rests on and the command to run next. */
import type { DiagnoseAnswer, Finding } from '#contract'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_WRONG } from './exit-code.ts'
import { printable } from './table.ts'
import type { Verb } from './verb.ts'

export const diagnoseVerb: Verb = {
  name: 'diagnose',
  summary: 'what is wrong now on this node, the worst first',
  usage: '',
  options: {},
  optionHelp: [],
  exitHelp: '0 nothing wrong, or nothing worse than info, 1 something critical or a warning',
  async run({ ask, json, nowMs }) {
    const asked = await askJson<DiagnoseAnswer>(ask, '/diagnose')
    if (asked.kind === 'failed') return asked.result
    const { findings } = asked.value
    const exitCode =
      isStale(asked.value, nowMs) || findings.some(({ severity }) => severity !== 'info') ? EXIT_WRONG : EXIT_OK
    return { exitCode, output: json ? jsonOutput(asked.value) : render(asked.value, nowMs) }
  },
}

/** Without a look for so long something is wrong with the looking; one look may take some seconds. */
const STALE_LOOKS = 6
const STALE_MS = 20_000

function isStale({ atMs, lookMs }: DiagnoseAnswer, nowMs: number): boolean {
  return nowMs - atMs > Math.max(STALE_MS, STALE_LOOKS * lookMs)
}

function render(answer: DiagnoseAnswer, nowMs: number): string {
  const { node, windowMs, looks, lookMs, findings } = answer
  const every = `looked at every ${secondsText(lookMs)}`
  const head =
    looks < 2
      ? `Node ${node}, looked at once since the agent was started: what changes with time shows in ${secondsText(lookMs)}.`
      : `Node ${node}, ${every}, for the last ${durationText(windowMs)}. Its own pods; other nodes' agents tell theirs.`
  const staleMs = nowMs - answer.atMs
  if (isStale(answer, nowMs)) {
    const stale = `The last look was ${durationText(staleMs)} ago, and what came since is not known: the agent's log tells why (look failed).`
    return `${head}\n${stale}\n\n${findings.map((finding, at) => renderFinding(finding, at + 1, nowMs)).join('\n')}`
  }
  if (findings.length === 0) return `${head}\n\nNothing is wrong that this agent can see.\n`
  return `${head}\n\n${findings.map((finding, at) => renderFinding(finding, at + 1, nowMs)).join('\n')}`
}

function renderFinding(
  { severity, subject, says, evidence, next, sinceMs }: Finding,
  at: number,
  nowMs: number,
): string {
  const lines = [
    `${at}. ${severity.toUpperCase()} ${subject}: ${says} (for ${durationText(nowMs - sinceMs)}).`,
    ...evidence.map((line) => `   - ${line}`),
    `   next: ${next}`,
  ]
  return `${lines.map(printable).join('\n')}\n`
}

function durationText(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 120) return secondsText(ms)
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

function secondsText(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  return seconds < 10 ? `${Number(seconds.toFixed(1))} s` : `${Math.round(seconds)} s`
}
