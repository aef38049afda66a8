/** A directory as a layer: the same files give the same bytes, whoever packs them and when. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'

export interface Layer {
  readonly name: string
  /** The gzipped tar. */
  readonly file: string
  /** `sha256:HEX` of the tar: what the image's configuration lists. */
  readonly diffId: string
  /** `sha256:HEX` of the gzipped tar: what the manifest lists. */
  readonly digest: string
  readonly unpackedBytes: number
  readonly packedBytes: number
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

interface LayerOptions {
  readonly name: string
  readonly directory: string
  /** Seconds; the time of every file. */
  readonly epoch: number
  readonly cache: string
}

/** Compressing is what takes long, so packed layers are kept, by what they hold. */
export function packLayer({ name, directory, epoch, cache }: LayerOptions): Layer {
  const layers = join(cache, 'layers')
  mkdirSync(layers, { recursive: true })
  const tar = join(layers, `${name}.tar`)
  tarDirectory(directory, tar, epoch)
  const bytes = readFileSync(tar)
  rmSync(tar)
  const diffId = sha256(bytes)
  const file = join(layers, `${diffId.slice('sha256:'.length)}.tar.gz`)
  if (!existsSync(file)) {
    // Node's gzip writes no name and no time.
    writeFileSync(`${file}.new`, gzipSync(bytes, { level: 9 }))
    renameSync(`${file}.new`, file)
  }
  const packed = readFileSync(file)
  return {
    name,
    file,
    diffId,
    digest: sha256(packed),
    unpackedBytes: bytes.length,
    packedBytes: packed.length,
  }
}

/** Sorted, owned by root, one time for all. */
export function tarDirectory(directory: string, out: string, epoch: number): void {
  const fixed = ['--sort=name', `--mtime=@${epoch}`, '--owner=0', '--group=0', '--numeric-owner', '--hard-dereference']
  execFileSync('tar', [...fixed, '--format=gnu', '-cf', out, '-C', directory, '.'])
}

/** Drops cached layers of earlier builds. */
export function keepOnly(cache: string, layers: readonly Layer[]): void {
  const wanted = new Set(layers.map(({ file }) => basename(file)))
  const directory = join(cache, 'layers')
  for (const name of readdirSync(directory)) if (!wanted.has(name)) rmSync(join(directory, name))
}
