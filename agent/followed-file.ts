/** A file that is followed by looking at it again and again: whether it is another one by now, and what is in it. */
import { open, stat } from 'node:fs/promises'

/** Differs whenever the file was written or replaced; empty when there is none. */
export async function fileState(file: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true })
    return `${ino}:${size}:${mtimeNs}:${ctimeNs}`
  } catch (thrown) {
    return isMissingFile(thrown) ? '' : 'unreadable'
  }
}

/**
 * Its text; undefined when it is larger, of which no more is read than shows that.
 * @throws when it cannot be read
 */
export async function readBounded(file: string, maxBytes: number): Promise<string | undefined> {
  await using handle = await open(file)
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of handle.createReadStream({ end: maxBytes, autoClose: false })) {
    if (!Buffer.isBuffer(chunk)) continue
    chunks.push(chunk)
    bytes += chunk.length
  }
  return bytes > maxBytes ? undefined : Buffer.concat(chunks).toString('utf8')
}

export function isMissingFile(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT'
}
