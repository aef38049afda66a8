/** An OCI image layout as one tar: https://github.com/opencontainers/image-spec/blob/main/image-layout.md */
import { linkSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Layer, sha256, tarDirectory } from './image-layer.ts'

export interface ImageConfig {
  /** As Go names it: amd64, arm64. */
  readonly architecture: string
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly environment: readonly string[]
  readonly labels: Readonly<Record<string, string>>
}

interface Archive {
  readonly out: string
  readonly work: string
  /** Seconds. */
  readonly epoch: number
  readonly layers: readonly Layer[]
  readonly config: ImageConfig
  /** With registry and tag, as containerd stores it. */
  readonly name: string
}

const TYPE = 'application/vnd.oci.image'

/** Answers the digest of the image's manifest. */
export function writeArchive({ out, work, epoch, layers, config, name }: Archive): string {
  const layout = join(work, 'layout')
  const blobs = join(layout, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const blobPath = (digest: string) => join(blobs, digest.slice('sha256:'.length))
  const addBlob = (mediaType: string, value: object) => {
    const bytes = Buffer.from(JSON.stringify(value))
    const digest = sha256(bytes)
    writeFileSync(blobPath(digest), bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const created = new Date(epoch * 1000).toISOString()
  const platform = { architecture: config.architecture, os: 'linux' }
  const configBlob = addBlob(`${TYPE}.config.v1+json`, {
    created,
    ...platform,
    config: {
      Env: config.environment,
      Entrypoint: config.entrypoint,
      Cmd: config.command,
      WorkingDir: '/',
      Labels: config.labels,
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map((layer) => ({ created, created_by: 'scripts/image', comment: layer.name })),
  })
  const manifestBlob = addBlob(`${TYPE}.manifest.v1+json`, {
    schemaVersion: 2,
    mediaType: `${TYPE}.manifest.v1+json`,
    config: configBlob,
    layers: layers.map(({ file, digest, packedBytes }) => {
      linkSync(file, blobPath(digest))
      return { mediaType: `${TYPE}.layer.v1.tar+gzip`, digest, size: packedBytes }
    }),
  })
  const annotations = {
    'io.containerd.image.name': name,
    'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
  }
  writeFileSync(
    join(layout, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${TYPE}.index.v1+json`,
      manifests: [{ ...manifestBlob, platform, annotations }],
    }),
  )
  writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
  tarDirectory(layout, out, epoch)
  return manifestBlob.digest
}
