/**
 * Fills the image's compile cache: each program of Weir is started once inside the image and leaves its code stripped and
 * compiled. Without it every start would compile anew, since the image's files are read-only when it runs.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The agent and its children start as root, the CA as user 1338; Node keeps a cache per user. */
const CA_UID = 1338
const CACHE = 'weir/node_modules/.cache/weir'

/** Each ends by itself at once; what it says is of no interest. */
const PROGRAMS: readonly (readonly string[])[] = [
  ['/weir/scripts/weir', 'agent', '--help'],
  ['/weir/scripts/weir', 'ca', '--help'],
  ['/weir/scripts/weir', 'status', '--help'],
  ['/weir/node_modules/.bin/node', '/weir/src/proxy/main.ts', '--help'],
  ['/weir/node_modules/.bin/node', '/weir/agent/identity/issuer-main.ts', '--help'],
  ['/weir/node_modules/.bin/node', '/weir/agent/cri/cri-main.ts', '--help'],
  // A thread of the agent otherwise.
  ['/weir/node_modules/.bin/node', '/weir/agent/logs/log-worker.ts'],
]

/** Of some four hundred. */
const LEAST_COMPILED = 100

/** None is among the flags that a cache and its reader must agree in. */
const REPEATABLE = ['--random-seed=1', '--single-threaded-gc', '--min-semi-space-size=64', '--max-semi-space-size=64']

/** @param whole the image's root, all layers in one; @param app the layer that gets the cache */
export function warmCompileCache(whole: string, app: string): void {
  // What V8 writes depends on its seed and on which collections happened: here there is one seed and none happens.
  const node = join(whole, 'weir/node_modules/.bin/node')
  rmSync(node)
  const wrapper = `exec /weir/node_modules/node-linux-${process.arch}/bin/node ${REPEATABLE.join(' ')}`
  writeFileSync(node, `#!/usr/bin/bash\n${wrapper} "\${@/#--max-semi-space-size=*/--no-memory-reducer}"\n`, {
    mode: 0o755,
  })
  for (const program of PROGRAMS) {
    // Nothing of the environment here: a NODE_OPTIONS would name what is not in the image.
    const environment = ['-i', 'PATH=/usr/sbin:/usr/bin', `NODE_COMPILE_CACHE=/${CACHE}`]
    const { error } = spawnSync('env', [...environment, 'chroot', whole, ...program], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    })
    if (error !== undefined) throw new Error(`Cannot run ${program.join(' ')} in the image`, { cause: error })
  }
  const cache = join(whole, CACHE)
  const [directory, ...others] = readdirSync(cache)
  if (directory === undefined || others.length > 0 || !directory.endsWith('-0')) {
    throw new Error(`Expected one compile cache, of root, in the image; found ${[directory, ...others].join(', ')}`)
  }
  const compiled = readdirSync(join(cache, directory)).length
  if (compiled < LEAST_COMPILED)
    throw new Error(`Only ${compiled} files of the image are compiled: its programs do not run`)
  symlinkSync(directory, join(cache, directory.replace(/-0$/, `-${CA_UID}`)))
  cpSync(cache, join(app, CACHE), { recursive: true, verbatimSymlinks: true })
  execFileSync('chmod', ['-R', 'a+rX', join(app, CACHE)])
}
