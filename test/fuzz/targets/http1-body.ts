/** Bodies of HTTP/1.1: the same data, trailers and end however the bytes come; written down again, they read the same. */
import { BodyReader } from '#http'
import { cutsOf, type FuzzTarget, rule } from '../target.ts'
import { HTTP1_WORDS } from './http1-words.ts'

const MAX_TRAILER_BYTES = 512
const MAX_TRAILERS = 8

interface Reading {
  readonly data: string
  readonly done: boolean
  readonly problem: string
  readonly consumed: number
  readonly trailers: string
}

function read(input: Buffer, mode: 'chunked' | 'length' | 'close', length: number, cuts: readonly number[]): Reading {
  const reader = new BodyReader(MAX_TRAILER_BYTES, MAX_TRAILERS)
  reader.begin(mode, length)
  let data = ''
  const sink = {
    bodyData(bytes: Buffer, start: number, end: number): void {
      rule(start < end, () => 'a piece without a byte')
      data += bytes.toString('latin1', start, end)
    },
  }
  let consumed = 0
  for (const cut of [...cuts, input.length]) {
    while (consumed < cut && !reader.done && reader.problem === '') {
      // A copy, ruined afterwards: nobody may keep it.
      const piece = Buffer.from(input.subarray(consumed, cut))
      const to = reader.read(piece, 0, piece.length, sink)
      rule(to >= 0 && to <= piece.length, () => `reads to ${to} of ${piece.length}`)
      piece.fill(0xee)
      if (to === 0 && reader.problem === '' && !reader.done) throw new Error('No progress')
      consumed += to
    }
  }
  rule(reader.received === data.length, () => `counts ${reader.received} bytes of ${data.length}`)
  const { done, problem, trailers } = reader
  return { data, done, problem, consumed: problem === '' ? consumed : -1, trailers: trailers?.text ?? '' }
}

function check(input: Buffer, mode: 'chunked' | 'length' | 'close', length: number): Reading {
  const whole = read(input, mode, length, [])
  const meaning = ({ problem, ...rest }: Reading): string => JSON.stringify([rest, problem !== ''])
  const same = (cuts: readonly number[]): void => {
    const cut = read(input, mode, length, cuts)
    rule(meaning(cut) === meaning(whole), () => `cut at ${cuts.join()}: ${JSON.stringify([cut, whole])}`)
  }
  const cuts = cutsOf(input.length, 24)
  for (const at of cuts) same([at])
  same(cuts)
  return whole
}

export const http1Body: FuzzTarget = {
  name: 'http1-body',
  dictionary: HTTP1_WORDS,
  maxBytes: 900,
  run(input) {
    check(input, 'length', input.length >> 1)
    check(input, 'close', 0)
    const { data, done, problem, trailers } = check(input, 'chunked', 0)
    if (done) {
      const text = `${data === '' ? '' : `${data.length.toString(16)}\r\n${data}\r\n`}0\r\n${trailers === '' ? '\r\n' : trailers}`
      const again = read(Buffer.from(text, 'latin1'), 'chunked', 0, [])
      rule(
        again.done && again.data === data && again.trailers === trailers,
        () => `written again: ${JSON.stringify(text)}`,
      )
    }
    return `${done} ${problem} ${Math.min(data.length, 3)} ${trailers === ''}`
  },
}
