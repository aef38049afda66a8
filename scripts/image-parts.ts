/** What of a checkout goes into the image, in its place below /weir. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { buildCniPlugin } from './build-cni.ts'

const PLATFORM_NODE = `node_modules/node-linux-${process.arch}`

/** The pinned Node, at the place where scripts/weir looks for it. */
export function copyNode(root: string, directory: string): void {
  const target = join(directory, 'weir', PLATFORM_NODE)
  mkdirSync(join(target, 'bin'), { recursive: true })
  for (const file of ['bin/node', 'LICENSE', 'package.json']) {
    cpSync(join(root, PLATFORM_NODE, file), join(target, file))
  }
  mkdirSync(join(directory, 'weir/node_modules/.bin'))
  symlinkSync(`../node-linux-${process.arch}/bin/node`, join(directory, 'weir/node_modules/.bin/node'))
}

/** The production packages of the lock file, without what is only read by people and compilers. */
export function copyDependencies(root: string, directory: string): void {
  const lock: unknown = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  for (const path of productionPaths(lock)) {
    const source = join(root, path)
    // Those of other platforms are not there.
    if (!existsSync(source) || path === PLATFORM_NODE) continue
    cpSync(source, join(directory, 'weir', path), {
      recursive: true,
      filter: (from) => from === source || isRun(from, source),
    })
  }
}

function productionPaths(lock: unknown): readonly string[] {
  const packages = typeof lock === 'object' && lock !== null && 'packages' in lock ? lock.packages : undefined
  if (typeof packages !== 'object' || packages === null) throw new Error('package-lock.json has no packages')
  return Object.entries(packages).flatMap(([path, entry]: [string, object]) =>
    path === '' || 'dev' in entry || path.startsWith('node_modules/@types/') ? [] : path,
  )
}

const UNREAD_DIRECTORIES = new Set(['.github', 'benchmark', 'benchmarks', 'doc', 'docs', 'example', 'examples', 'test'])

function isRun(path: string, packageRoot: string): boolean {
  const name = basename(path)
  // Nested packages have entries of their own in the lock file.
  if (name === 'node_modules') return false
  if (dirname(path) === packageRoot && UNREAD_DIRECTORIES.has(name)) return false
  return !/\.(d\.[cm]?ts|map|md|markdown)$/.test(name) || /licen[cs]e|notice/i.test(name)
}

/** The sources as they are: Node strips their types. */
export function copyApp(root: string, directory: string): void {
  const target = join(directory, 'weir')
  for (const path of ['agent', 'cni', 'src', 'scripts/weir', 'scripts/node-path', 'package.json', 'LICENSE']) {
    if (existsSync(join(root, path))) cpSync(join(root, path), join(target, path), { recursive: true })
  }
  // Whatever the umask of the checkout was.
  execFileSync('chmod', ['-R', 'u=rwX,go=rX', directory])
  chmodSync(join(target, 'scripts/weir'), 0o755)
  mkdirSync(join(directory, 'usr/bin'), { recursive: true })
  symlinkSync('/weir/scripts/weir', join(directory, 'usr/bin/weir'))
}

/** The CNI plugin, which the agent puts onto the node. Kept in the cache for as long as nothing it is made of changes. */
export async function copyCniPlugin(root: string, cache: string, directory: string): Promise<void> {
  const key = createHash('sha256').update(process.version)
  for (const path of globSync(
    ['{cni,src/{base,contract,linux}}/**/*.ts', 'scripts/build-cni.ts', 'package-lock.json'],
    { cwd: root },
  ).sort()) {
    key.update(`\n${path}\n`).update(readFileSync(join(root, path)))
  }
  const kept = join(cache, `weir-cni-${key.digest('hex').slice(0, 16)}`)
  if (!existsSync(kept)) {
    for (const old of globSync(join(cache, 'weir-cni-*'))) rmSync(old)
    await buildCniPlugin(kept)
  }
  const target = join(directory, 'weir/dist')
  mkdirSync(target, { recursive: true })
  linkSync(kept, join(target, 'weir-cni'))
}
