/** The page's files, as the agent serves them: read once, with the first who asks; then they are in memory (80 KiB). */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { errorReply, type Reply } from '../reply.ts'

const ASSETS = '/assets/'
const INDEX = 'page/index.html'
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  ts: 'text/javascript; charset=utf-8',
}
const MAX_BYTES = 4 << 20
const TIMEOUT_MS = 20_000

interface PageFile {
  readonly text: string
  readonly etag: string
}

export function isPagePath(path: string): boolean {
  return path === '/' || path.startsWith(ASSETS)
}

let files: Promise<ReadonlyMap<string, PageFile>> | undefined

/** @param path one of which `isPagePath` holds */
export async function pageReply(path: string, ifNoneMatch = ''): Promise<Reply> {
  files ??= readFiles().catch((thrown: unknown) => {
    files = undefined
    throw thrown
  })
  const name = path === '/' ? INDEX : path.slice(ASSETS.length)
  const file = (await files).get(name)
  const contentType = CONTENT_TYPES[name.slice(name.lastIndexOf('.') + 1)]
  if (file === undefined || contentType === undefined) return errorReply(404, 'The page has no such file')
  const headers = { etag: file.etag, 'cache-control': 'no-cache' }
  const isKnown = ifNoneMatch.split(',').some((one) => one.trim() === file.etag)
  return isKnown
    ? { status: 304, contentType, body: '', headers }
    : { status: 200, contentType, body: file.text, headers }
}

async function readFiles(): Promise<ReadonlyMap<string, PageFile>> {
  const program = join(import.meta.dirname, 'page-sources.ts')
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1', program],
    { env: {}, maxBuffer: MAX_BYTES, timeout: TIMEOUT_MS },
  )
  const texts: unknown = JSON.parse(stdout)
  return new Map(Object.entries(texts ?? {}).map(([path, text]) => [path, withTag(String(text))]))
}

function withTag(text: string): PageFile {
  return { text, etag: `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"` }
}
