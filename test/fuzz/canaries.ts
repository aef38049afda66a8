/** Targets that are broken on purpose, each in another way: a fuzzer that does not find them finds nothing. */
import { BodyReader } from '#http'
import { type FuzzTarget, rule } from './target.ts'
import { HTTP1_WORDS } from './targets/http1-words.ts'

/** Chunked data as a careless reader takes it: a bare LF ends a size line too. */
function carelessChunks(input: string): string | undefined {
  let data = ''
  for (let at = 0; ; ) {
    const line = /^([0-9a-f]+)\r?\n/i.exec(input.slice(at))
    if (line === null) return undefined
    const size = Number.parseInt(line[1] ?? '', 16)
    at += line[0].length
    if (size === 0) return data
    if (input.slice(at + size, at + size + 2) !== '\r\n') return undefined
    data += input.slice(at, at + size)
    at += size + 2
  }
}

const chunks: FuzzTarget = {
  name: 'careless-chunks',
  dictionary: HTTP1_WORDS,
  maxBytes: 200,
  run(input) {
    const careless = carelessChunks(input.toString('latin1'))
    const reader = new BodyReader(512, 8)
    reader.begin('chunked', 0)
    let data = ''
    reader.read(input, 0, input.length, {
      bodyData: (bytes, start, end) => (data += bytes.toString('latin1', start, end)),
    })
    rule(careless === undefined || careless === data, () => `read as ${JSON.stringify(careless)}`)
    return `${careless === undefined} ${reader.done}`
  },
}

const hangs: FuzzTarget = {
  name: 'hangs',
  dictionary: [],
  maxBytes: 8,
  run(input) {
    while (input.length > 2);
    return String(input.length)
  },
}

const kept: Buffer[] = []
const keepsBuffers: FuzzTarget = {
  name: 'keeps-buffers',
  dictionary: [],
  maxBytes: 8,
  run() {
    kept.push(Buffer.alloc(1 << 20))
    return ''
  },
}

const heap: number[][] = []
const fillsHeap: FuzzTarget = {
  name: 'fills-the-heap',
  dictionary: [],
  maxBytes: 8,
  run() {
    heap.push(new Array<number>(200_000).fill(1.5))
    return ''
  },
}

export const targets: readonly FuzzTarget[] = [chunks, hangs, keepsBuffers, fillsHeap]
