/**
 * Our place in the network configuration of a node: in the file that the container runtime takes, which is the first by
 * name. A lone configuration becomes a list beside which its original is kept, in a folder that no runtime looks into.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { extname, join } from 'node:path'
import { chainInto, listOfConfiguration, type PluginEntry, unchain } from './network-list.ts'
import { fileStamp, replaceFile } from './replace-file.ts'

/** Of the configuration directory: kept originals, and the index of opted-in pods. */
export const OWN_FOLDER = 'weir.d'
const MADE_LIST = /\.(conf|json)\.conflist$/
const MAX_BYTES = 4 << 20

export type ChainState =
  /** `changed`: this call put us there. */
  | { readonly kind: 'chained'; readonly file: string; readonly changed: boolean }
  /** No network plugin has put its configuration there yet. */
  | { readonly kind: 'waiting'; readonly why: string }
  | { readonly kind: 'unfit'; readonly file: string; readonly why: string }

/** Sees to it that our entry is in the first configuration. @throws errors of the file system */
export function chainOnce(confDir: string, entry: PluginEntry): ChainState {
  const names = configurationNames(confDir)
  if (names === undefined) return { kind: 'waiting', why: `${confDir} does not exist` }
  const [file] = names
  if (file === undefined) return { kind: 'waiting', why: `${confDir} holds no network configuration` }
  const path = join(confDir, file)
  const stamp = fileStamp(path)
  const text = readBounded(path)
  if (stamp === undefined || text === undefined) return { kind: 'waiting', why: `${path} is not readable as a file` }
  const isList = extname(file) === '.conflist'
  const chained = isList ? chainInto(text, entry) : listOfConfiguration(text, entry)
  if (chained.kind === 'unfit') return { kind: 'unfit', file, why: chained.why }
  if (chained.kind === 'unchanged') return { kind: 'chained', file, changed: false }
  if (isList) {
    const done = replaceFile(path, chained.text, { stamp })
    return done ? { kind: 'chained', file, changed: true } : { kind: 'waiting', why: `${path} is being changed` }
  }
  const list = `${file}.conflist`
  replaceFile(join(confDir, list), chained.text, { like: path })
  mkdirSync(join(confDir, OWN_FOLDER), { recursive: true, mode: 0o755 })
  renameSync(path, join(confDir, OWN_FOLDER, file))
  return { kind: 'chained', file: list, changed: true }
}

/** Takes our entry out of every file there, gives kept originals back. @returns the files changed */
export function unchainAll(confDir: string): readonly string[] {
  const changed: string[] = []
  for (const file of configurationNames(confDir) ?? []) {
    const path = join(confDir, file)
    const text = extname(file) === '.conflist' ? readBounded(path) : undefined
    if (text === undefined) continue
    const rest = unchain(text)
    const original = keptOriginal(confDir, file)
    if (original !== undefined) giveBack(confDir, file, original, text)
    else if (rest !== undefined) replaceFile(path, rest)
    else continue
    changed.push(file)
  }
  rmSync(join(confDir, OWN_FOLDER), { recursive: true, force: true })
  return changed
}

/** The original when we made the list and nobody has changed it since; else the list without our entry. */
function giveBack(confDir: string, list: string, original: string, text: string): void {
  const kept = join(confDir, OWN_FOLDER, original)
  const path = join(confDir, list)
  const plugins = pluginsOf(unchain(text) ?? text)
  const untouched = JSON.stringify(plugins) === JSON.stringify([JSON.parse(readFileSync(kept, 'utf8'))])
  if (untouched && lstatSync(join(confDir, original), { throwIfNoEntry: false }) === undefined) {
    renameSync(kept, join(confDir, original))
    rmSync(path)
  } else {
    replaceFile(path, unchain(text) ?? text)
    rmSync(kept)
  }
}

function pluginsOf(text: string): unknown {
  const list: unknown = JSON.parse(text)
  return typeof list === 'object' && list !== null && 'plugins' in list ? list.plugins : undefined
}

function keptOriginal(confDir: string, list: string): string | undefined {
  if (!MADE_LIST.test(list)) return undefined
  const original = list.slice(0, -'.conflist'.length)
  return lstatSync(join(confDir, OWN_FOLDER, original), { throwIfNoEntry: false }) === undefined ? undefined : original
}

/** In the order in which runtimes take them (libcni: by name, these three endings); undefined without the directory. */
function configurationNames(confDir: string): readonly string[] | undefined {
  let names: readonly string[]
  try {
    names = readdirSync(confDir)
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return undefined
    throw thrown
  }
  return names.filter((name) => ['.conf', '.conflist', '.json'].includes(extname(name))).sort(byBytes)
}

/** As Go sorts strings. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function readBounded(path: string): string | undefined {
  try {
    const bytes = readFileSync(path)
    return bytes.length > MAX_BYTES ? undefined : bytes.toString('utf8')
  } catch {
    return undefined
  }
}
