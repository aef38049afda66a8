/** Runs a program with its network namespace already set: it is forked while this thread is in there. */
import { spawn } from 'node:child_process'
import { WeirError } from '#base'
import { withNetns } from '#linux'

export interface CommandResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

const PATH = '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin'
const TIMEOUT_MS = 20_000
const MAX_OUTPUT_CHARS = 16 << 20

const PACKAGE_OF: Readonly<Record<string, string>> = { ip: 'iproute2', nft: 'nftables', setpriv: 'util-linux' }

/** Error of a program that is not installed, with its remedy. */
export function missingProgram(program: string): WeirError {
  const name = PACKAGE_OF[program] ?? 'iptables'
  return new WeirError(
    'WEIR_AGENT_PROGRAM_MISSING',
    `The program ${program} is missing; install it: apt install ${name}.`,
  )
}

/** Resolves with the outcome, a non-zero status included. @throws WeirError when the program is not installed */
export function runInNetns(
  netnsFd: number,
  program: string,
  args: readonly string[],
  options: { readonly stdin?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = withNetns(netnsFd, () =>
      spawn(program, args, { env: { PATH, LC_ALL: 'C', ...options.env }, stdio: 'pipe', timeout: TIMEOUT_MS }),
    )
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      if (stdout.length < MAX_OUTPUT_CHARS) stdout += chunk
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      if (stderr.length < MAX_OUTPUT_CHARS) stderr += chunk
    })
    child.on('error', (cause: NodeJS.ErrnoException) =>
      reject(cause.code === 'ENOENT' ? missingProgram(program) : cause),
    )
    child.on('close', (code, signal) =>
      resolve({ status: code ?? 128, stdout, stderr: signal === null ? stderr : `${stderr} killed by ${signal}` }),
    )
    // A program that ends without reading its input says why on stderr.
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.stdin ?? '')
  })
}

/** As `runInNetns`, but any other status than 0 is an error that quotes what the program said. */
export async function runOrThrow(...call: Parameters<typeof runInNetns>): Promise<string> {
  const result = await runInNetns(...call)
  if (result.status === 0) return result.stdout
  const said = result.stderr.trim().split('\n').slice(0, 3).join('; ')
  throw new WeirError('WEIR_AGENT_COMMAND', `${call[1]} failed with status ${result.status}: ${said}`)
}
