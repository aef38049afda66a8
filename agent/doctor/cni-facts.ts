/** Reads what the CNI check judges: the directories of the node's network plugins, and what our executable answers. */
import { spawn } from 'node:child_process'
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { startTimer } from '#base'
import { PLUGIN_TYPE } from '#cni'
import type { CniFacts } from './cni-lines.ts'

export interface CniPlace {
  readonly confDir: string
  readonly binDir: string
  /** Which of the two somebody named, and so means to be there; default none. */
  readonly named?: { readonly confDir: boolean; readonly binDir: boolean }
}

const MAX_ANSWER_CHARS = 10_000
const ANSWER_MS = 2_000

export async function readCniFacts({ confDir, binDir, named }: CniPlace): Promise<CniFacts> {
  const configurations = configurationNames(confDir)
  const [first] = configurations ?? []
  const path = join(binDir, PLUGIN_TYPE)
  const binary = binaryState(path)
  return {
    confDir,
    binDir,
    named: named ?? { confDir: false, binDir: false },
    configurations,
    text: first === undefined ? undefined : readText(join(confDir, first)),
    plugins: pluginNames(binDir),
    binary,
    binaryVersions: binary === 'present' ? await askVersions(path) : undefined,
  }
}

/** In the order of libcni: these endings, by the bytes of their names. */
function configurationNames(confDir: string): readonly string[] | undefined {
  return namesIn(confDir)
    ?.filter((name) => ['.conf', '.conflist', '.json'].includes(extname(name)))
    .toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

/** Of other people: what can be run there and is not ours. */
function pluginNames(binDir: string): readonly string[] | undefined {
  return namesIn(binDir)?.filter((name) => name !== PLUGIN_TYPE && binaryState(join(binDir, name)) === 'present')
}

/** Undefined where there is no directory. */
function namesIn(directory: string): readonly string[] | undefined {
  try {
    return readdirSync(directory)
  } catch (thrown) {
    const isNone = thrown instanceof Error && 'code' in thrown && ['ENOENT', 'ENOTDIR'].includes(String(thrown.code))
    if (isNone) return undefined
    throw thrown
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function binaryState(path: string): CniFacts['binary'] {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return 'absent'
  try {
    accessSync(path, constants.X_OK)
    return 'present'
  } catch {
    return 'not-executable'
  }
}

/** The VERSION command of the CNI specification; undefined for anything but its answer. */
function askVersions(path: string): Promise<readonly string[] | undefined> {
  const { promise, resolve } = Promise.withResolvers<readonly string[] | undefined>()
  const child = spawn(path, [], { env: { CNI_COMMAND: 'VERSION' }, stdio: ['pipe', 'pipe', 'ignore'] })
  const timer = startTimer(ANSWER_MS, () => child.kill('SIGKILL'))
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    if (text.length < MAX_ANSWER_CHARS) text += chunk
  })
  child.on('error', () => resolve(undefined))
  child.on('close', () => resolve(versionsIn(text)))
  child.stdin.on('error', () => undefined)
  child.stdin.end('{"cniVersion":"1.0.0"}')
  return promise.finally(() => timer[Symbol.dispose]())
}

function versionsIn(text: string): readonly string[] | undefined {
  try {
    const answer: unknown = JSON.parse(text)
    if (typeof answer !== 'object' || answer === null || !('supportedVersions' in answer)) return undefined
    return Array.isArray(answer.supportedVersions) ? answer.supportedVersions.map(String) : undefined
  } catch {
    return undefined
  }
}
