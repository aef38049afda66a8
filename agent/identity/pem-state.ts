/** Whether the PEM files of a directory have changed, told without reading them. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Differs whenever a `.pem` file came, went, or was written or replaced since; links are followed. */
export async function readPemState(directory: string): Promise<string> {
  const names = await readdir(directory).catch(() => [])
  const pems = names.filter((name) => name.endsWith('.pem') && !name.startsWith('.')).sort()
  const states = pems.map(async (name) => {
    try {
      const { ino, size, mtimeNs, ctimeNs } = await stat(join(directory, name), { bigint: true })
      return `${name}:${ino}:${size}:${mtimeNs}:${ctimeNs}`
    } catch {
      return `${name}:missing`
    }
  })
  return (await Promise.all(states)).join(' ')
}
