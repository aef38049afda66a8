/**
 * Images for the containers of a lab, as OCI archives (image-spec 1.0: one layer, uncompressed, in a tar), made of
 * programs of this machine, without a registry: `pause`, which is busybox, and `app`, busybox and the pinned Node with
 * the libraries it needs.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { cached, newestChange } from './lab-cache.ts'

/** Debian's busybox-static: runs in an image that holds nothing else. */
const BUSYBOX = '/bin/busybox'
const APPLETS = ['cat', 'id', 'ip', 'kill', 'ls', 'ps', 'sh', 'sleep', 'touch']
const ECHO_SERVER = join(import.meta.dirname, 'lab-echo-server.ts')

const ROOT = join(import.meta.dirname, '../..')

export const PAUSE_IMAGE = 'weir.test/pause:lab'
export const APP_IMAGE = 'weir.test/app:lab'

/** Where the app image has the echo server of the lab. */
export const ECHO_SERVER_IN_APP = '/srv/lab-echo-server.ts'

export interface ImageSpec {
  /** As containers name it. */
  readonly name: string
  /** Files and directories of the machine by their path in the image; links are followed. */
  readonly files: Readonly<Record<string, string>>
  /** Symbolic links: path to target. */
  readonly links?: Readonly<Record<string, string>>
  readonly directories?: readonly string[]
  readonly entryPoint: readonly string[]
}

export function pauseImage(): ImageSpec {
  return { name: PAUSE_IMAGE, files: { '/bin/sleep': BUSYBOX }, entryPoint: ['/bin/sleep', '2147483647'] }
}

export function appImage(): ImageSpec {
  return {
    name: APP_IMAGE,
    files: {
      '/bin/busybox': BUSYBOX,
      '/usr/local/bin/node': process.execPath,
      ...librariesOf(process.execPath),
      [ECHO_SERVER_IN_APP]: ECHO_SERVER,
      '/srv/node_modules/ws': join(ROOT, 'node_modules/ws'),
    },
    links: Object.fromEntries(APPLETS.map((name) => [`/bin/${name}`, 'busybox'])),
    directories: ['/tmp', '/proc', '/sys', '/dev', '/etc', '/root'],
    entryPoint: ['/bin/sleep', '2147483647'],
  }
}

/** Shared libraries and the loader, at the paths where a program looks for them. */
function librariesOf(program: string): Record<string, string> {
  const listed = execFileSync('/usr/bin/ldd', [program], { encoding: 'utf8' })
  const paths = listed.split('\n').flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? [])
  return Object.fromEntries(paths.map((path) => [path, path]))
}

/** Writes an OCI archive. @param scratch a directory, on the file system of `archive`. */
export function buildImage(spec: ImageSpec, archive: string, scratch: string): void {
  const dir = mkdtempSync(join(scratch, 'image-'))
  try {
    const root = join(dir, 'root')
    const blobs = join(dir, 'image/blobs/sha256')
    mkdirSync(blobs, { recursive: true })
    for (const path of spec.directories ?? []) mkdirSync(join(root, path), { recursive: true })
    for (const [path, source] of Object.entries(spec.files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      cpSync(source, join(root, path), { recursive: true, dereference: true })
    }
    for (const [path, target] of Object.entries(spec.links ?? {})) symlinkSync(target, join(root, path))
    const layer = join(dir, 'layer.tar')
    tar(root, layer)
    const layerDigest = sha256(readFileSync(layer))
    const layerSize = statSync(layer).size
    renameSync(layer, join(blobs, layerDigest))
    const putBlob = (value: unknown) => {
      const bytes = Buffer.from(JSON.stringify(value))
      writeFileSync(join(blobs, sha256(bytes)), bytes)
      return { digest: `sha256:${sha256(bytes)}`, size: bytes.length }
    }
    const config = putBlob({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Entrypoint: spec.entryPoint, Env: ['PATH=/usr/local/bin:/bin'], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: [`sha256:${layerDigest}`] },
      history: [{ created: '1970-01-01T00:00:00Z', created_by: 'lab' }],
    })
    const manifest = putBlob({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: [
        { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${layerDigest}`, size: layerSize },
      ],
    })
    const descriptor = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      ...manifest,
      annotations: { 'io.containerd.image.name': spec.name },
    }
    writeFileSync(join(dir, 'image/index.json'), JSON.stringify({ schemaVersion: 2, manifests: [descriptor] }))
    writeFileSync(join(dir, 'image/oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
    tar(join(dir, 'image'), archive)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function tar(dir: string, file: string): void {
  const plain = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner']
  execFileSync('tar', ['-C', dir, ...plain, '-cf', file, '.'])
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** The archive of an image, built anew when what is in it has changed. */
export function archiveOf(spec: ImageSpec): string {
  const sources = Object.entries(spec.files).map(([path, source]) => {
    const { size, mtimeMs } = statSync(source)
    return [path, source, size, mtimeMs]
  })
  const version = sha256(Buffer.from(JSON.stringify([spec, sources]))).slice(0, 16)
  return cached(spec.name.replace(/^.*\/|:.*$/g, ''), version, (draft) => buildImage(spec, draft, dirname(draft)))
}

/** Weir's own image, as `scripts/image` makes it; built anew when its sources have changed, which takes some seconds. */
export function weirArchive(): string {
  const change = newestChange(ROOT, ['agent', 'cni', 'src', 'scripts', 'package-lock.json'])
  return cached('weir-image', change, (draft) => {
    const { NODE_OPTIONS: _, ...env } = process.env
    execFileSync(join(ROOT, 'scripts/image'), [draft], { env, stdio: 'pipe' })
  })
}
