/**
 * Checks who imports whom: an explicit allow-list per folder, so that the privilege boundary is an import rule.
 * `node scripts/check-layers.ts [DIR]` prints one line per violation and exits 1; also when it read no file.
 */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, posix, relative, resolve } from 'node:path'
import { parseSync } from 'oxc-parser'

/** What each folder may import of ours, besides itself. A folder that is not here may not exist. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  base: [],
  contract: [],
  linux: ['base', 'contract'],
  schema: ['base'],
  resources: ['base', 'contract', 'schema'],
  identity: ['base', 'contract'],
  // Apart from identity, so that proxies never load what makes certificates. Of linux it takes the file lock.
  'identity/ca': ['base', 'contract', 'linux', 'identity'],
  // The API server's HTTP: requests and watches, no meaning of what they carry.
  kubernetes: ['base', 'contract'],
  discovery: ['base', 'contract', 'resources'],
  // Apart from discovery, so that what follows no cluster does not load what speaks to one.
  'discovery/kubernetes': ['base', 'contract', 'resources', 'kubernetes', 'discovery'],
  mesh: ['base', 'contract', 'schema', 'resources', 'identity'],
  translation: ['base', 'contract'],
  routing: ['base', 'contract', 'mesh', 'identity', 'translation'],
  policy: ['base', 'contract', 'mesh', 'identity'],
  http: ['base', 'contract'],
  dns: ['base', 'contract', 'mesh'],
  tunnel: ['base', 'contract', 'http', 'identity'],
  telemetry: ['base', 'contract', 'mesh', 'identity'],
  tracing: ['base', 'contract'],
  proxy: [
    'base',
    'contract',
    'linux',
    'mesh',
    'identity',
    'routing',
    'translation',
    'policy',
    'http',
    'dns',
    'tunnel',
    'telemetry',
    'tracing',
  ],
  // Told what was seen, it says what that means: for the agent and for those who ask it.
  observer: ['base', 'contract'],
  // Apart from observer, so that an agent without rules does not load it.
  'observer/alerts': ['base', 'contract', 'schema', 'observer'],
  // What the agent serves to browsers; it runs there. The agent reads the files, and imports none.
  page: ['contract', 'observer'],
  // Files and lines; who pods are it is told.
  logs: ['base', 'contract'],
  // Of kubernetes the types.
  agent: [
    'base',
    'contract',
    'linux',
    'schema',
    'resources',
    'kubernetes',
    'discovery',
    'mesh',
    'identity',
    'telemetry',
    'logs',
    'observer',
    'observer/alerts',
    'cni',
  ],
  // The admin API explains decisions, so it asks the deciders themselves.
  'agent/admin': [
    'agent',
    'base',
    'contract',
    'mesh',
    'identity',
    'routing',
    'policy',
    'telemetry',
    'logs',
    'observer',
  ],
  // A thread of the agent; expressions are matched as those of routes are.
  'agent/logs': ['agent', 'base', 'contract', 'routing', 'logs'],
  // A thread of the agent, and its side of it.
  'agent/tracing': ['agent', 'base', 'contract', 'tracing'],
  'agent/identity': ['agent', 'base', 'contract', 'identity', 'identity/ca'],
  // The CA is a process of its own: of the agent it shares only the identities' side.
  'agent/ca': [
    'agent/identity',
    'base',
    'contract',
    'schema',
    'resources',
    'kubernetes',
    'discovery',
    'discovery/kubernetes',
    'mesh',
    'identity',
    'identity/ca',
  ],
  // Loaded only in a cluster.
  'agent/cluster': [
    'agent',
    'base',
    'contract',
    'resources',
    'kubernetes',
    'discovery',
    'discovery/kubernetes',
    'mesh',
  ],
  'agent/cni': ['agent', 'base', 'contract', 'resources', 'discovery', 'mesh', 'cni'],
  // Without what parses and routes: it looks at a machine that may have no agent, and asks the API server.
  'agent/doctor': ['agent', 'base', 'contract', 'linux', 'kubernetes', 'cni'],
  'agent/cri': ['agent/cni', 'base'],
  cni: ['base', 'contract', 'linux'],
  cli: ['base', 'contract', 'observer'],
}

/** Folders that decide, or run in browsers: nothing they reach may be a Node module or a package. */
const PURE = ['schema', 'routing', 'policy', 'translation', 'observer', 'observer/alerts', 'page']
const TYPES_ONLY: Readonly<Record<string, readonly string[]>> = {
  routing: ['identity'],
  policy: ['identity'],
  page: ['contract'],
}
/** Packages that only the named folders or files may import. */
const PACKAGE_OWNERS: Readonly<Record<string, readonly string[]>> = {
  koffi: ['linux'],
  'dns-packet': ['dns'],
  '@opentelemetry/api': ['src/logs/otlp-sink.ts', 'src/tracing/otlp-span-sink.ts'],
  '@opentelemetry/exporter-logs-otlp-http': ['src/logs/otlp-sink.ts'],
  '@opentelemetry/exporter-trace-otlp-http': ['src/tracing/otlp-span-sink.ts'],
  '@opentelemetry/resources': ['src/logs/otlp-sink.ts', 'src/tracing/otlp-span-sink.ts'],
  '@opentelemetry/sdk-logs': ['src/logs/otlp-sink.ts'],
  '@opentelemetry/sdk-trace': ['src/tracing/otlp-span-sink.ts'],
  systeminformation: ['agent/saturation/node-sampler.ts'],
  'http-proxy-3': ['agent/admin/peers.ts'],
  '@peculiar/x509': ['identity/ca'],
  '@grpc/proto-loader': ['identity/ca', 'agent/cri'],
  '@grpc/grpc-js': ['agent/identity/remote-issuer.ts', 'agent/ca', 'agent/cri'],
}
/** First files of processes that live on every node: what makes certificates costs tens of MiB, and is not for them. */
const RESIDENT = ['agent/main.ts', 'src/proxy/main.ts']
const NOT_RESIDENT: ReadonlySet<string> = new Set(['@peculiar/x509', '@grpc/grpc-js', '@grpc/proto-loader'])
/** Doors between processes: a file that starts another one in its own process. */
const DOORS: ReadonlySet<string> = new Set([
  'src/cli/main.ts > agent/main.ts',
  'src/cli/main.ts > agent/annotate-pod.ts',
  'src/cli/main.ts > agent/ca/main.ts',
  'src/cli/main.ts > agent/doctor/preflight.ts',
  'src/cli/main.ts > agent/uninstall.ts',
  // What the CNI plugin and the agent say to each other, and leave for each other on disk.
  'agent/cni/plugin-side.ts > cni/protocol.ts',
  'agent/cni/plugin-side.ts > cni/pod-index.ts',
])

interface Import {
  readonly specifier: string | undefined
  readonly typeOnly: boolean
  readonly line: number
}

interface SourceFile {
  readonly path: string
  readonly folder: string
  readonly imports: readonly Import[]
}

/** `src/http/x.ts` → `http`; `src/identity/ca/x.ts` → `identity/ca`; `agent/x.ts` → `agent`. */
function folderOf(path: string): string {
  const [first = '', second = ''] = path.split('/').slice(path.startsWith('src/') ? 1 : 0)
  return `${first}/${second}` in ALLOWED ? `${first}/${second}` : first
}

function readSource(root: string, path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8')
  const { module, errors } = parseSync(path, text)
  if (errors[0]) throw new Error(`${path} does not parse: ${errors[0].message}`)
  const lineAt = (offset: number) => text.slice(0, offset).split('\n').length
  const imports: Import[] = []
  for (const found of module.staticImports) {
    const typeOnly = found.entries.length > 0 && found.entries.every((entry) => entry.isType)
    imports.push({ specifier: found.moduleRequest.value, typeOnly, line: lineAt(found.start) })
  }
  for (const found of module.staticExports) {
    const requests = found.entries.filter((entry) => entry.moduleRequest)
    const specifier = requests[0]?.moduleRequest?.value
    if (specifier === undefined) continue
    imports.push({ specifier, typeOnly: requests.every((entry) => entry.isType), line: lineAt(found.start) })
  }
  for (const found of module.dynamicImports) {
    const literal = /^(['"`])([^$]*)\1$/.exec(text.slice(found.moduleRequest.start, found.moduleRequest.end).trim())
    imports.push({ specifier: literal?.[2], typeOnly: false, line: lineAt(found.start) })
  }
  return { path, folder: folderOf(path), imports }
}

/** Our own file that a specifier means, relative to the root; undefined for packages and Node's modules. */
function targetOf(file: SourceFile, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return posix.join(posix.dirname(file.path), specifier)
  if (specifier.startsWith('#')) return `${specifier === '#cni' ? '' : 'src/'}${specifier.slice(1)}/index.ts`
  return undefined
}

/** Why this import may not be, or undefined. */
function refusal(root: string, file: SourceFile, found: Import): string | undefined {
  const { specifier } = found
  if (specifier === undefined) return 'a dynamic import must name its module as a plain string'
  const target = targetOf(file, specifier)
  if (target === undefined) {
    const owners = PACKAGE_OWNERS[specifier]
    const owned = owners === undefined || owners.includes(file.folder) || owners.includes(file.path)
    return owned ? undefined : `only ${owners.join(', ')} may import ${specifier}`
  }
  if (!existsSync(join(root, target))) return `${target} does not exist`
  if (DOORS.has(`${file.path} > ${target}`)) return undefined
  const to = folderOf(target)
  if (to === file.folder) {
    return specifier.startsWith('#') ? 'inside a folder, import by a relative path' : undefined
  }
  const insideAgent = to.split('/')[0] === 'agent' && file.folder.split('/')[0] === 'agent'
  if (insideAgent) return undefined
  if (!ALLOWED[file.folder]?.includes(to)) return `${file.folder} may not import ${to}`
  if (!specifier.startsWith('#')) return `import '#${to}', not a file inside it`
  if (TYPES_ONLY[file.folder]?.includes(to) && !found.typeOnly) return `${file.folder} may import types only from ${to}`
  return undefined
}

/**
 * The first way from a file to a Node module or package that is meant, as text. Type imports are erased, so they do
 * not count.
 */
function wayTo(
  isMeant: (specifier: string) => boolean,
  files: ReadonlyMap<string, SourceFile>,
  start: string,
): string | undefined {
  const seen = new Set([start])
  const queue: { readonly path: string; readonly way: string }[] = [{ path: start, way: start }]
  for (let next = queue.shift(); next; next = queue.shift()) {
    const file = files.get(next.path)
    for (const found of file?.imports ?? []) {
      if (!file || found.typeOnly || found.specifier === undefined) continue
      const target = targetOf(file, found.specifier)
      if (target === undefined) {
        if (!isMeant(found.specifier)) continue
        const kind = isBuiltin(found.specifier) ? 'Node module' : 'package'
        return `reaches the ${kind} ${found.specifier}: ${next.way} > ${found.specifier}`
      }
      if (seen.has(target)) continue
      seen.add(target)
      queue.push({ path: target, way: `${next.way} > ${target}` })
    }
  }
  return undefined
}

/** All violations below `root`, one line each, and how many files were read. */
export function checkLayers(root: string): { readonly fileCount: number; readonly violations: readonly string[] } {
  const paths = globSync('{agent,cni,src}/**/*.ts', { cwd: root }).sort()
  const files = new Map(paths.map((path) => [path, readSource(root, path)]))
  const violations: string[] = []
  for (const file of files.values()) {
    if (!(file.folder in ALLOWED)) violations.push(`${file.path}: folder ${file.folder} has no entry in the allow-list`)
    for (const found of file.imports) {
      const why = refusal(root, file, found)
      if (why !== undefined) violations.push(`${file.path}:${found.line}: ${found.specifier ?? 'import(…)'}: ${why}`)
    }
    if (!PURE.includes(file.folder)) continue
    const way = wayTo(() => true, files, file.path)
    if (way !== undefined) violations.push(`${file.path}: ${file.folder} must stay pure, but ${way}`)
  }
  for (const path of RESIDENT) {
    const way = wayTo((specifier) => NOT_RESIDENT.has(specifier), files, path)
    if (way !== undefined) violations.push(`${path}: a process of every node, but ${way}`)
  }
  return { fileCount: files.size, violations }
}

if (import.meta.main) {
  const root = resolve(process.argv[2] ?? dirname(import.meta.dirname))
  const { fileCount, violations } = checkLayers(root)
  for (const violation of violations) console.error(violation)
  if (fileCount === 0) console.error(`No source file found below ${relative('.', root) || '.'}: nothing was checked`)
  else console.log(`${fileCount} files read, ${violations.length} violations`)
  process.exitCode = fileCount === 0 || violations.length > 0 ? 1 : 0
}
