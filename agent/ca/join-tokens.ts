/**
 * Join tokens: by which secret a node proves to be itself. Only hashes are kept, and comparing takes the same time
 * whatever is presented.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { parse } from 'yaml'
import { errorLine, WeirError } from '#base'
import type { NodeProof } from './node-proof.ts'

interface NodeToken {
  readonly node: string
  readonly sha256: Buffer
}

const MAX_FILE_BYTES = 1 << 20
/** Rights of users that are neither the owner nor of the group. */
const OTHERS = 0o007
const HASHED = /^sha256:([0-9a-f]{64})$/i
const HEX = /^[0-9a-f]{32,}$/i
/** 22 characters of base64 hold 128 bits; what is only hexadecimal needs 32. */
const TOKEN = /^[A-Za-z0-9._~+/=-]{22,512}$/
const NODE = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/

/** @throws WeirError WEIR_CA_TOKENS, one line that never quotes a token */
export function parseJoinTokens(text: string, file: string): readonly NodeToken[] {
  const wrong = (what: string) => new WeirError('WEIR_CA_TOKENS', `${file}: ${what}`)
  let value: unknown
  try {
    value = parse(text, { schema: 'core', prettyErrors: false })
  } catch {
    // The parser's message quotes the text.
    throw wrong('cannot be read as YAML or JSON that names each node once')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong('expected a mapping from node names to tokens')
  }
  const found: NodeToken[] = []
  for (const [node, given] of Object.entries(value)) {
    if (!NODE.test(node)) throw wrong(`${JSON.stringify(node)} is not a node name (lower case, digits, - and .)`)
    const tokens: readonly unknown[] = Array.isArray(given) ? given : [given]
    for (const token of tokens) {
      const sha256 = hashOf(token)
      if (sha256 === undefined) {
        throw wrong(
          `${node}: expected a token of 128 bits or more as text (openssl rand -hex 32), or sha256:HEX of one`,
        )
      }
      const other = found.find((known) => known.sha256.equals(sha256))
      if (other !== undefined) throw wrong(`${other.node} and ${node} have the same token: give each its own`)
      found.push({ node, sha256 })
    }
  }
  return found
}

/** Whose token it is; undefined when it is nobody's. */
export function findNode(tokens: readonly NodeToken[], presented: string): string | undefined {
  const sha256 = digest(presented)
  let node: string | undefined
  for (const token of tokens) if (timingSafeEqual(token.sha256, sha256)) node = token.node
  return node
}

/** The tokens of a file, read again when it changes; one that is not good changes nothing. */
export class JoinTokens {
  readonly #file: string
  readonly #warn: (line: string) => void
  #tokens: readonly NodeToken[] = []
  #state = ''

  private constructor(file: string, warn: (line: string) => void) {
    this.#file = file
    this.#warn = warn
  }

  static async open(file: string, warn: (line: string) => void): Promise<JoinTokens> {
    const tokens = new JoinTokens(file, warn)
    await tokens.#read()
    return tokens
  }

  async prove(presented: string): Promise<NodeProof> {
    try {
      await this.#read()
    } catch (thrown) {
      this.#warn(`${errorLine(thrown)}; the tokens read before stay in force`)
    }
    const node = findNode(this.#tokens, presented)
    return node === undefined ? { kind: 'nobody', why: 'the token is of no node' } : { kind: 'node', node }
  }

  async #read(): Promise<void> {
    const state = await fileState(this.#file)
    if (state === this.#state) return
    this.#state = state
    try {
      const text = await readFile(this.#file, 'utf8')
      if (await isOpenToAll(this.#file)) this.#warn(`${this.#file} can be read by all users: chmod 600 ${this.#file}`)
      if (text.length > MAX_FILE_BYTES) throw new WeirError('WEIR_CA_TOKENS', `${this.#file} is larger than 1 MiB`)
      this.#tokens = parseJoinTokens(text, this.#file)
    } catch (thrown) {
      if (thrown instanceof WeirError) throw thrown
      throw new WeirError('WEIR_CA_TOKENS', `Cannot read the join tokens ${this.#file}: ${errorLine(thrown)}`)
    }
  }
}

async function isOpenToAll(file: string): Promise<boolean> {
  const { mode } = await stat(file)
  return (mode & OTHERS) !== 0
}

async function fileState(file: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true })
    return `${ino}:${size}:${mtimeNs}:${ctimeNs}`
  } catch {
    return 'missing'
  }
}

function hashOf(token: unknown): Buffer | undefined {
  if (typeof token !== 'string') return undefined
  const [, hex] = HASHED.exec(token) ?? []
  if (hex !== undefined) return Buffer.from(hex, 'hex')
  const strong = TOKEN.test(token) && (HEX.test(token) || !/^[0-9a-f]+$/i.test(token))
  return strong ? digest(token) : undefined
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
