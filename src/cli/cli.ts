/** The command line: verb → flags → ask → print. Everything it touches is handed in, so that tests run it whole. */
import { readFileSync } from 'node:fs'
import { type CheckLine, STATE_DIR_DEFAULT } from '#contract'
import { alertsVerb } from './alerts.ts'
import { readArguments, textValue } from './arguments.ts'
import { createAsk } from './ask.ts'
import { checkVerb } from './check.ts'
import { configVerb } from './config.ts'
import { diagnoseVerb } from './diagnose.ts'
import { edgesVerb } from './edges.ts'
import { EXIT_OK, EXIT_USAGE } from './exit-code.ts'
import { explainVerb } from './explain.ts'
import { createListen } from './listen.ts'
import { logsVerb } from './logs.ts'
import { metricsVerb } from './metrics.ts'
import { nearest } from './nearest.ts'
import { podsVerb } from './pods.ts'
import { policiesVerb } from './policies.ts'
import { quarantineVerb, releaseVerb } from './quarantine.ts'
import { routesVerb } from './routes.ts'
import { statVerb } from './stat.ts'
import { statusVerb } from './status.ts'
import { tapVerb } from './tap.ts'
import { topVerb } from './top.ts'
import { renderUsage, renderVerbUsage } from './usage.ts'
import type { AnnotatePodCall, PreflightCall, Verb } from './verb.ts'

export interface CliIo {
  out(text: string): void
  err(text: string): void
  /** As `VerbCall.print`. */
  print(text: string): Promise<boolean>
  readonly isTerminal: boolean
  /** Runs the agent until it ends; its exit code, or undefined when it sets that itself. */
  runAgent(argv: readonly string[]): Promise<number | undefined>
  /** Runs the certificate authority until it ends; its exit code. */
  runCa(argv: readonly string[]): Promise<number | undefined>
  /** Takes Weir off this machine; its exit code. */
  runUninstall(argv: readonly string[]): Promise<number>
  /** Looks at this machine and a cluster without asking an agent. */
  runPreflight(call: PreflightCall): Promise<readonly CheckLine[]>
  /** Undefined when it is done, else one line that says why not. */
  annotatePod(call: AnnotatePodCall): Promise<string | undefined>
  nowMs(): number
}

const VERBS: readonly Verb[] = [
  statusVerb,
  podsVerb,
  routesVerb,
  policiesVerb,
  explainVerb,
  logsVerb,
  tapVerb,
  metricsVerb,
  configVerb,
  checkVerb,
  diagnoseVerb,
  alertsVerb,
  topVerb,
  edgesVerb,
  statVerb,
  quarantineVerb,
  releaseVerb,
]

const CA_VERBS: readonly string[] = ['revoke']

const SHARED_OPTIONS = {
  json: { type: 'boolean' },
  'state-dir': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const

/** The exit code, or undefined when the process that was run has set it. `argv` without node and script. */
export async function runCli(argv: readonly string[], io: CliIo): Promise<number | undefined> {
  const [word = 'help', ...rest] = argv
  switch (word) {
    case 'agent':
      return io.runAgent(rest)
    case 'ca':
      return runCa(rest, io)
    case 'uninstall':
      return io.runUninstall(rest)
    case 'help':
    case '--help':
    case '-h':
      return help(rest, io)
    case 'version':
    case '--version':
      return version(rest.includes('--json'), io)
    default:
      return runVerb(word, rest, io)
  }
}

/** `weir ca` serves; what it can do besides is its one verb. */
async function runCa(argv: readonly string[], io: CliIo): Promise<number | undefined> {
  const [word = '-'] = argv
  if (word.startsWith('-') || CA_VERBS.includes(word)) return io.runCa(argv)
  const near = nearest(word, CA_VERBS)
  const hint = near === undefined ? '' : `; did you mean weir ca ${near}?`
  return usageError(`weir ca has no verb ${JSON.stringify(word)}${hint} (see weir ca --help)`, io)
}

async function runVerb(word: string, argv: readonly string[], io: CliIo): Promise<number> {
  const verb = VERBS.find(({ name }) => name === word)
  if (verb === undefined) return unknownVerb(word, io)
  const options = { ...verb.options, ...SHARED_OPTIONS }
  const read = readArguments(verb.name, argv, options, verb.maxWords)
  if (read.kind === 'usage') return usageError(read.line, io)
  const { values, words } = read
  if (values['help'] === true) {
    io.out(renderVerbUsage(verb))
    return EXIT_OK
  }
  const stateDir = textValue(values, 'state-dir') ?? STATE_DIR_DEFAULT
  const result = await verb.run({
    values,
    words,
    json: values['json'] === true,
    ask: createAsk(stateDir),
    listen: createListen(stateDir),
    print: (text) => io.print(text),
    isTerminal: io.isTerminal,
    preflight: (call) => io.runPreflight({ ...call, stateDir, version: readVersion() }),
    annotatePod: (call) => io.annotatePod(call),
    nowMs: io.nowMs(),
  })
  if (result.output !== '') io.out(result.output)
  if (result.error !== undefined) io.err(`${result.error}\n`)
  return result.exitCode
}

async function help([word, ...more]: readonly string[], io: CliIo): Promise<number | undefined> {
  if (word === 'agent') return io.runAgent(['--help'])
  if (word === 'ca') return runCa([...more, '--help'], io)
  if (word === 'uninstall') return io.runUninstall(['--help'])
  const verb = VERBS.find(({ name }) => name === word)
  if (word !== undefined && verb === undefined) return unknownVerb(word, io)
  io.out(verb === undefined ? renderUsage(VERBS) : renderVerbUsage(verb))
  return EXIT_OK
}

function version(json: boolean, io: CliIo): number {
  const number = readVersion()
  io.out(json ? `${JSON.stringify({ version: number })}\n` : `weir ${number}\n`)
  return EXIT_OK
}

function readVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  const { version: number } = JSON.parse(text) as { readonly version: string }
  return number
}

function unknownVerb(word: string, io: CliIo): number {
  const near = nearest(word, ['agent', 'ca', 'uninstall', 'help', 'version', ...VERBS.map(({ name }) => name)])
  const hint = near === undefined ? '' : `; did you mean ${near}?`
  return usageError(`weir has no verb ${JSON.stringify(word)}${hint} (see weir help)`, io)
}

function usageError(line: string, io: CliIo): number {
  io.err(`${line}\n`)
  return EXIT_USAGE
}
