/**
 * `scripts/image OUT.tar`: Weir's image, from Debian packages, the pinned Node, the production packages of the lock
 * file, the CNI plugin and the sources, a layer each. The same inputs give the same digest.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type ImageConfig, writeArchive } from './image-archive.ts'
import { baseDirectory } from './image-base.ts'
import { keepOnly, packLayer } from './image-layer.ts'
import { copyApp, copyCniPlugin, copyDependencies, copyNode } from './image-parts.ts'
import { warmCompileCache } from './image-warm.ts'

const USAGE = `scripts/image OUT.tar [--name NAME]
  OUT.tar       an OCI archive: for ctr image import, podman load, skopeo copy oci-archive:OUT.tar …
  --name NAME   default docker.io/library/weir:VERSION, which is what weir:VERSION in daemonset.yaml means
SOURCE_DATE_EPOCH (seconds, default 0) is the time of everything in it.`

const root = resolve(import.meta.dirname, '..')
const cache = join(root, 'node_modules/.cache/weir-image')

function configOf(version: string): ImageConfig {
  return {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    entrypoint: ['/weir/scripts/weir'],
    command: ['help'],
    environment: ['PATH=/usr/sbin:/usr/bin'],
    labels: {
      'org.opencontainers.image.title': 'weir',
      'org.opencontainers.image.description': 'A service mesh without sidecars: agent, proxy, certificate authority',
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.licenses': 'Apache-2.0',
    },
  }
}

function versionOf(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) return String(manifest.version)
  throw new Error('package.json has no version')
}

async function build(out: string, name: string | undefined): Promise<void> {
  const startedAt = performance.now()
  const version = versionOf()
  const epoch = Number(process.env['SOURCE_DATE_EPOCH'] ?? 0)
  mkdirSync(cache, { recursive: true })
  // Inside the cache, so that everything is on one file system and can be linked instead of copied.
  const work = mkdtempSync(join(cache, 'work-'))
  try {
    const parts = {
      base: baseDirectory(cache),
      node: join(work, 'node'),
      dependencies: join(work, 'dependencies'),
      cni: join(work, 'cni'),
      app: join(work, 'app'),
    }
    copyNode(root, parts.node)
    copyDependencies(root, parts.dependencies)
    await copyCniPlugin(root, cache, parts.cni)
    copyApp(root, parts.app)
    const whole = join(work, 'whole')
    mkdirSync(whole)
    for (const part of Object.values(parts)) execFileSync('cp', ['-al', `${part}/.`, whole])
    warmCompileCache(whole, parts.app)
    const layers = Object.entries(parts).map(([layer, directory]) =>
      packLayer({ name: layer, directory, epoch, cache }),
    )
    keepOnly(cache, layers)
    const digest = writeArchive({
      out: resolve(out),
      work,
      epoch,
      layers,
      config: configOf(version),
      name: name ?? `docker.io/library/weir:${version}`,
    })
    const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`
    for (const { name: layer, unpackedBytes, packedBytes } of layers) {
      console.error(`image: ${layer.padEnd(12)} ${mib(unpackedBytes)} unpacked, ${mib(packedBytes)} packed`)
    }
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    console.error(`image: ${out}, ${mib(statSync(out).size)}, in ${seconds} s`)
    console.log(digest)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { name: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  })
  const [out] = positionals
  if (values.help === true) console.log(USAGE)
  else if (out === undefined || positionals.length > 1) {
    console.error(USAGE)
    process.exitCode = 64
  } else await build(out, values.name)
}

await main()
