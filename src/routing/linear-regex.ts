/**
 * Regular expressions matched against the whole text in time linear in its length, whatever the
 * expression: the tree becomes a nondeterministic automaton, made deterministic state by state as
 * texts are met. Built-in RegExp backtracks, and `(a+)+$` would stop a proxy shared by many pods.
 */
import { type CharSet, parseRegex, type RegexNode } from './regex-syntax.ts'

export type CompiledRegex =
  | { readonly ok: true; readonly regex: LinearRegex }
  | { readonly ok: false; readonly error: string }

/** Instructions an expression may need; `{n,m}` multiplies. */
const MAX_INSTRUCTIONS = 2100
/** Nodes visited to emit them: repetitions of nothing emit nothing, and are bounded too. */
const MAX_VISITS = 20_000
/** Deterministic states kept; when full they are forgotten and made again as needed. */
const MAX_STATES = 200

/** The dialect is that of `parseRegex`; the whole text must match. */
export function compileRegex(pattern: string): CompiledRegex {
  const parsed = parseRegex(pattern)
  if (!parsed.ok) return { ok: false, error: parsed.error }
  const program = new Program()
  const last = program.emit(parsed.node, program.accept)
  if (last === undefined) return { ok: false, error: `expression too large: ${JSON.stringify(pattern)}` }
  return { ok: true, regex: new LinearRegex(program, last) }
}

type Instruction =
  | { readonly op: 'accept' }
  | { readonly op: 'set'; readonly set: CharSet; readonly next: number }
  | { readonly op: 'start' | 'end'; readonly next: number }
  | { readonly op: 'split'; readonly next: readonly number[] }

/** Built backwards: each node is emitted with the instruction that follows it. */
class Program {
  readonly code: Instruction[]
  readonly accept: number
  #visits: number

  constructor() {
    this.code = [{ op: 'accept' }]
    this.accept = 0
    this.#visits = 0
  }

  /** Index of the first instruction; undefined when the program grows too large. */
  emit(node: RegexNode, next: number): number | undefined {
    this.#visits += 1
    if (this.code.length > MAX_INSTRUCTIONS || this.#visits > MAX_VISITS) return undefined
    switch (node.kind) {
      case 'set':
        return this.#push({ op: 'set', set: node.set, next })
      case 'start':
      case 'end':
        return this.#push({ op: node.kind, next })
      case 'cat': {
        let at: number | undefined = next
        for (let i = node.parts.length - 1; i >= 0 && at !== undefined; i -= 1) {
          const part = node.parts[i]
          if (part !== undefined) at = this.emit(part, at)
        }
        return at
      }
      case 'alt': {
        const targets: number[] = []
        for (const option of node.options) {
          const target = this.emit(option, next)
          if (target === undefined) return undefined
          targets.push(target)
        }
        return this.#push({ op: 'split', next: targets })
      }
      case 'repeat':
        return this.#repeat(node.node, node.min, node.max, next)
    }
  }

  #repeat(node: RegexNode, min: number, max: number | undefined, next: number): number | undefined {
    let at: number | undefined = next
    if (max === undefined) {
      const targets: number[] = [next]
      const loop = this.#push({ op: 'split', next: targets })
      const body = this.emit(node, loop)
      if (body === undefined) return undefined
      targets.push(body)
      at = loop
    } else {
      for (let i = min; i < max; i += 1) {
        const body: number | undefined = this.emit(node, at)
        if (body === undefined) return undefined
        at = this.#push({ op: 'split', next: [next, body] })
      }
    }
    for (let i = 0; i < min && at !== undefined; i += 1) at = this.emit(node, at)
    return at
  }

  #push(instruction: Instruction): number {
    this.code.push(instruction)
    return this.code.length - 1
  }
}

class State {
  /** Indexes of `set` and `end` instructions, and of `accept`. */
  readonly members: readonly number[]
  readonly accepts: boolean
  readonly next: (State | undefined)[]

  constructor(members: readonly number[], accepts: boolean) {
    this.members = members
    this.accepts = accepts
    this.next = []
  }
}

export class LinearRegex {
  readonly #code: readonly Instruction[]
  /** First code units of the alphabet's classes: units that no set tells apart share one. */
  readonly #bounds: readonly number[]
  readonly #asciiClasses: Uint16Array
  readonly #states: Map<string, State>
  readonly #start: State
  /** What `#closure` visited last, sixteen instructions to a word. */
  readonly #seenBits: Uint16Array
  readonly #open: number[] = []

  constructor(program: { readonly code: readonly Instruction[] }, start: number) {
    this.#code = program.code
    const bounds = new Set([0])
    for (const instruction of program.code) {
      if (instruction.op !== 'set') continue
      instruction.set.forEach((unit, i) => {
        bounds.add(i % 2 === 0 ? unit : unit + 1)
      })
    }
    this.#bounds = [...bounds].sort((a, b) => a - b)
    this.#asciiClasses = new Uint16Array(128)
    for (let unit = 0; unit < 128; unit += 1) this.#asciiClasses[unit] = this.#searchClass(unit)
    this.#states = new Map()
    this.#seenBits = new Uint16Array((program.code.length >> 4) + 1)
    this.#start = this.#stateOf([start], true)
  }

  matches(text: string): boolean {
    let state = this.#start
    for (let i = 0; i < text.length; i += 1) {
      if (state.members.length === 0) return false
      const unit = text.charCodeAt(i)
      const unitClass = unit < 128 ? (this.#asciiClasses[unit] ?? 0) : this.#searchClass(unit)
      let next = state.next[unitClass]
      if (next === undefined) {
        next = this.#step(state, unitClass)
        state.next[unitClass] = next
      }
      state = next
    }
    return state.accepts
  }

  #searchClass(unit: number): number {
    let low = 0
    let high = this.#bounds.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#bounds[middle] ?? 0) <= unit) low = middle
      else high = middle - 1
    }
    return low
  }

  #step(state: State, unitClass: number): State {
    const unit = this.#bounds[unitClass] ?? 0
    const targets: number[] = []
    for (const member of state.members) {
      const instruction = this.#code[member]
      if (instruction?.op === 'set' && contains(instruction.set, unit)) targets.push(instruction.next)
    }
    return this.#stateOf(targets, false)
  }

  #stateOf(targets: readonly number[], atStart: boolean): State {
    const members = this.#closure(targets, atStart, false)
    const key = String.fromCharCode(...this.#seenBits)
    const known = atStart ? undefined : this.#states.get(key)
    if (known !== undefined) return known
    if (this.#states.size >= MAX_STATES) {
      for (const state of this.#states.values()) state.next.length = 0
      this.#states.clear()
      this.#start.next.length = 0
    }
    const accepts = this.#closure(targets, atStart, true).includes(0)
    const state = new State(members, accepts)
    // The start state may have passed `^`, which a later state with the same members has not.
    if (!atStart) this.#states.set(key, state)
    return state
  }

  /**
   * In no order; `#seenBits` says what was visited. With as many members as an expression may have this is done for each
   * character of a text whose states do not repeat: hence neither sets nor sorting.
   */
  #closure(targets: readonly number[], atStart: boolean, atEnd: boolean): readonly number[] {
    const seen = this.#seenBits
    seen.fill(0)
    const kept: number[] = []
    const open = this.#open
    for (const target of targets) open.push(target)
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      const bit = 1 << (at & 15)
      const word = seen[at >> 4] ?? 0
      if ((word & bit) !== 0) continue
      seen[at >> 4] = word | bit
      const instruction = this.#code[at]
      if (instruction === undefined) continue
      if (instruction.op === 'split') for (const next of instruction.next) open.push(next)
      else if (instruction.op === 'start') {
        if (atStart) open.push(instruction.next)
      } else if (instruction.op === 'end' && atEnd) open.push(instruction.next)
      else kept.push(at)
    }
    return kept
  }
}

function contains(set: CharSet, unit: number): boolean {
  for (let i = 0; i < set.length; i += 2) {
    if (unit < (set[i] ?? 0)) return false
    if (unit <= (set[i + 1] ?? 0)) return true
  }
  return false
}
