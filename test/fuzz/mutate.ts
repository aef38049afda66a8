/**
 * Inputs made of inputs: bytes changed, cut out, doubled, words of the format put in, lines moved, two inputs spliced.
 * What small steps cannot reach is in the dictionaries and seeds.
 */
import type { Random } from './random.ts'

const EDGES = [0, 1, 9, 10, 13, 32, 127, 128, 255]

type Step = (bytes: Buffer, random: Random, dictionary: readonly string[], other: Buffer) => Buffer

function between(random: Random, length: number): [number, number] {
  const start = random.below(length + 1)
  return [start, start + random.below(Math.min(length - start, 32) + 1)]
}

function replace(bytes: Buffer, start: number, end: number, by: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, start), by, bytes.subarray(end)])
}

const STEPS: readonly Step[] = [
  (bytes, random) => {
    if (bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256)
    return bytes
  },
  (bytes, random) => {
    const at = random.below(bytes.length)
    if (bytes.length > 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
    return bytes
  },
  (bytes, random) => {
    if (bytes.length > 0) bytes[random.below(bytes.length)] = random.pick(EDGES)
    return bytes
  },
  (bytes, random) => replace(bytes, ...between(random, bytes.length), Buffer.alloc(0)),
  (bytes, random) => {
    const at = random.below(bytes.length + 1)
    return replace(bytes, at, at, bytes.subarray(...between(random, bytes.length)))
  },
  (bytes, random) => {
    const at = random.below(bytes.length + 1)
    return replace(bytes, at, at, Buffer.alloc(1 + random.below(random.below(20) === 0 ? 300 : 4), random.pick(EDGES)))
  },
  insertWord,
  insertWord,
  (bytes, random, dictionary) => {
    if (dictionary.length === 0) return bytes
    return replace(bytes, ...between(random, bytes.length), Buffer.from(random.pick(dictionary), 'latin1'))
  },
  (bytes, random, _dictionary, other) => {
    const at = random.below(bytes.length + 1)
    return replace(bytes, at, at, other.subarray(...between(random, other.length)))
  },
  (bytes, random, _dictionary, other) =>
    Buffer.concat([bytes.subarray(0, random.below(bytes.length + 1)), other.subarray(random.below(other.length + 1))]),
  (bytes, random) => moveLine(bytes, random),
]

function insertWord(bytes: Buffer, random: Random, dictionary: readonly string[]): Buffer {
  if (dictionary.length === 0) return bytes
  const at = random.below(bytes.length + 1)
  return replace(bytes, at, at, Buffer.from(random.pick(dictionary), 'latin1'))
}

/** A line is taken away, doubled, moved, or indented otherwise. */
function moveLine(bytes: Buffer, random: Random): Buffer {
  const lines = bytes.toString('latin1').split('\n')
  const at = random.below(lines.length)
  const line = lines[at] ?? ''
  const to = random.below(lines.length)
  switch (random.below(4)) {
    case 0:
      lines.splice(at, 1)
      break
    case 1:
      lines.splice(to, 0, line)
      break
    case 2:
      lines.splice(at, 1)
      lines.splice(to, 0, line)
      break
    default:
      lines[at] = random.below(2) === 0 ? `  ${line}` : line.replace(/^ {1,2}/, '')
  }
  return Buffer.from(lines.join('\n'), 'latin1')
}

export function mutate(
  random: Random,
  pool: readonly Buffer[],
  dictionary: readonly string[],
  maxBytes: number,
): Buffer {
  let bytes: Buffer = Buffer.from(random.pick(pool))
  const steps = 1 + random.below(random.below(4) === 0 ? 12 : 4)
  for (let i = 0; i < steps; i++) bytes = random.pick(STEPS)(bytes, random, dictionary, random.pick(pool))
  return bytes.length > maxBytes ? Buffer.from(bytes.subarray(0, maxBytes)) : bytes
}
