/**
 * Builds the CNI plugin as one executable (`node --build-sea`): bundled to one CommonJS file with its code cached, inside
 * a Node without symbols. The same sources give the same bytes.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { build } from 'esbuild'

const ROOT = dirname(import.meta.dirname)

/** @returns its size in bytes */
export async function buildCniPlugin(output: string): Promise<number> {
  const work = mkdtempSync(join(tmpdir(), 'weir-cni-'))
  // Beside the output, so that it is moved into place in one step.
  const made = join(dirname(output), `.${basename(output)}.${process.pid}.new`)
  try {
    const main = join(work, 'main.cjs')
    await build({
      entryPoints: [join(ROOT, 'cni/main.ts')],
      outfile: main,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      target: 'node26',
      minify: true,
      keepNames: true,
      legalComments: 'none',
      logLevel: 'warning',
    })
    const node = join(work, 'node')
    copyFileSync(process.execPath, node)
    stripSymbols(node)
    const config = join(work, 'sea.json')
    const settings = {
      main,
      output: made,
      executable: node,
      disableExperimentalSEAWarning: true,
      useCodeCache: true,
      execArgv: ['--max-semi-space-size=1'],
      // NODE_OPTIONS of whoever starts the container runtime is none of ours.
      execArgvExtension: 'none',
    }
    writeFileSync(config, JSON.stringify(settings))
    execFileSync(process.execPath, ['--build-sea', config], { stdio: ['ignore', 'ignore', 'inherit'], env: {} })
    renameSync(made, output)
    return statSync(output).size
  } finally {
    rmSync(work, { recursive: true, force: true })
    rmSync(made, { force: true })
  }
}

/** A fifth of the file; where binutils are missing the executable works with them. */
function stripSymbols(path: string): void {
  try {
    execFileSync('strip', [path], { stdio: 'ignore' })
  } catch {
    console.error('build-cni: strip is missing (Debian package binutils): the executable keeps its symbols')
  }
}

if (import.meta.main) {
  const [output] = process.argv.slice(2)
  if (output === undefined) {
    console.error('Usage: scripts/build-cni OUT')
    process.exitCode = 2
  } else {
    const path = resolve(output)
    console.log(`${path}: ${((await buildCniPlugin(path)) / 2 ** 20).toFixed(0)} MiB`)
  }
}
