/**
 * The Huffman code of HPACK (RFC 7541 appendix B). It is canonical, so the lengths of its codes are the
 * whole code: codes of one length follow each other in the order of their symbols.
 */
import { latin1 } from '../latin1.ts'

/** Bits of the code of each byte; the 257th symbol, end of string, has 30 bits. */
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
]
const END_OF_STRING = 256

const BITS = Uint8Array.from(LENGTHS)
const CODES = (() => {
  const codes = new Uint32Array(LENGTHS.length)
  let code = 0
  for (let length = 1; length <= 30; length++) {
    for (let symbol = 0; symbol < LENGTHS.length; symbol++) if (LENGTHS[symbol] === length) codes[symbol] = code++
    code *= 2
  }
  return codes
})()

/**
 * Four bits at a time: at `state * 16 + bits`, the next state (low 9 bits), the symbol that ended (bits 16 to 23)
 * and whether one ended (`ENDED`) or the code is no good (`BAD`). States are the inner nodes of the tree; 0 is the root.
 */
const ENDED = 1 << 24
const BAD = 1 << 25
const { steps: STEPS, accepting: ACCEPTING } = (() => {
  // Children of node n at 2n and 2n+1: the number of an inner node, or -1 - symbol.
  const children: number[] = [0, 0]
  for (let symbol = 0; symbol <= END_OF_STRING; symbol++) {
    let node = 0
    for (let bit = (BITS[symbol] as number) - 1; bit >= 0; bit--) {
      const slot = node * 2 + (((CODES[symbol] as number) >>> bit) & 1)
      if (bit === 0) children[slot] = -1 - symbol
      else {
        let next = children[slot] as number
        if (next === 0) {
          next = children.length / 2
          children[slot] = next
          children.push(0, 0)
        }
        node = next
      }
    }
  }
  const states = children.length / 2
  const steps = new Uint32Array(states * 16)
  for (let state = 0; state < states; state++) {
    for (let bits = 0; bits < 16; bits++) {
      let node = state
      let step = 0
      for (let bit = 3; bit >= 0; bit--) {
        const next = children[node * 2 + ((bits >>> bit) & 1)] as number
        if (next >= 0) node = next
        else {
          node = 0
          step |= next === -1 - END_OF_STRING ? BAD : ENDED | ((-1 - next) << 16)
        }
      }
      steps[state * 16 + bits] = step | node
    }
  }
  // Padding is the beginning of the end-of-string code, which is all ones, shorter than a byte.
  const accepting = new Uint8Array(states)
  for (let node = 0, depth = 0; depth < 8; depth++) {
    accepting[node] = 1
    node = children[node * 2 + 1] as number
  }
  return { steps, accepting }
})()

/** Bytes `text` takes when coded. */
export function huffmanLength(text: string): number {
  let bits = 0
  for (let i = 0; i < text.length; i++) bits += BITS[text.charCodeAt(i) & 255] as number
  return (bits + 7) >>> 3
}

/** Writes the code of latin1 `text`, which must fit; returns where it ends. */
export function putHuffman(out: Uint8Array, start: number, text: string): number {
  let at = start
  let pending = 0
  let count = 0
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 255
    let code = CODES[symbol] as number
    let bits = BITS[symbol] as number
    if (bits > 16) {
      // Together with seven pending bits a long code would not fit in 32.
      bits -= 16
      pending = (pending << bits) | (code >>> 16)
      count += bits
      while (count >= 8) {
        count -= 8
        out[at++] = pending >>> count
      }
      code &= 0xffff
      bits = 16
    }
    pending = (pending << bits) | code
    count += bits
    while (count >= 8) {
      count -= 8
      out[at++] = pending >>> count
    }
  }
  if (count > 0) out[at++] = (pending << (8 - count)) | (0xff >>> count)
  return at
}

let decoded = Buffer.allocUnsafeSlow(512)

/** The text coded in [start, end); undefined when the code or its padding is malformed. */
export function readHuffman(bytes: Buffer, start: number, end: number): string | undefined {
  // No code is shorter than five bits.
  const most = (end - start) * 2
  if (decoded.length < most) decoded = Buffer.allocUnsafeSlow(most)
  const out = decoded
  let length = 0
  let state = 0
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number
    let step = STEPS[state * 16 + (byte >>> 4)] as number
    if (step >= ENDED) {
      if (step >= BAD) return undefined
      out[length++] = step >>> 16
    }
    step = STEPS[(step & 0x1ff) * 16 + (byte & 15)] as number
    if (step >= ENDED) {
      if (step >= BAD) return undefined
      out[length++] = step >>> 16
    }
    state = step & 0x1ff
  }
  return ACCEPTING[state] === 1 ? latin1(out, 0, length) : undefined
}
