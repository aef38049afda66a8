/**
 * A small schema combinator: a reader takes an unknown value and gives a typed one or says, with the exact
 * field path, what is wrong. It reports everything it finds, not only the first, and never throws.
 * Strict objects refuse unknown fields and nulls; lenient ones ignore the former and read the latter as absent.
 */
import { nearestName } from './nearest-name.ts'

export interface Issue {
  /** Path from the object's root, e.g. `spec.rules[0].matches[1].path.value`; empty for the object itself. */
  readonly field: string
  readonly message: string
}

export const FAILED: unique symbol = Symbol('failed')
type Read<T> = T | typeof FAILED

/** Reads a value found at `field`; appends to `issues` and gives FAILED when it does not fit. */
export interface Schema<T> {
  readonly read: (value: unknown, field: string, issues: Issue[]) => Read<T>
}

/** A field that may be absent. */
export interface OptionalField<T> {
  readonly optional: Schema<T>
}

/** A field that has a default value. */
export interface DefaultField<T> {
  readonly present: Schema<T>
  readonly absent: T
}

type Field = Schema<unknown> | OptionalField<unknown> | DefaultField<unknown>
type FieldOutput<F> =
  F extends Schema<infer T> ? T : F extends OptionalField<infer T> ? T : F extends DefaultField<infer T> ? T : never

/** The value type of an object schema's fields. */
type ObjectOutput<F> = {
  readonly [K in keyof F as F[K] extends OptionalField<unknown> ? never : K]: FieldOutput<F[K]>
} & { readonly [K in keyof F as F[K] extends OptionalField<unknown> ? K : never]?: FieldOutput<F[K]> }

/** The value type of a schema. */
export type Output<S> = S extends Schema<infer T> ? T : never

/** A check of a well-typed value: undefined when it fits, else what is wrong. */
export type Check<T> = (value: T) => string | undefined

export function optional<T>(schema: Schema<T>): OptionalField<T> {
  return { optional: schema }
}

export function withDefault<T>(schema: Schema<T>, absent: T): DefaultField<T> {
  return { present: schema, absent }
}

export function string(...checks: readonly Check<string>[]): Schema<string> {
  return {
    read(value, field, issues) {
      if (typeof value !== 'string') {
        const quotable = typeof value === 'number' || typeof value === 'boolean'
        const remedy = quotable ? '; put it in quotes' : ''
        return fail(issues, field, `expected a string, got ${typeName(value)}${remedy}`)
      }
      return checked(value, checks, field, issues)
    },
  }
}

/** A whole number from `min` to `max`, both included. */
export function integer(min: number, max: number): Schema<number> {
  return {
    read(value, field, issues) {
      if (typeof value !== 'number') return fail(issues, field, `expected a number, got ${typeName(value)}`)
      if (!Number.isInteger(value)) return fail(issues, field, `expected a whole number, got ${value}`)
      if (value < min || value > max) return fail(issues, field, `expected ${min} to ${max}, got ${value}`)
      return value
    },
  }
}

/** A TCP or UDP port. */
export function port(): Schema<number> {
  return integer(1, 65535)
}

export function boolean(): Schema<boolean> {
  return {
    read: (value, field, issues) =>
      typeof value === 'boolean' ? value : fail(issues, field, `expected true or false, got ${typeName(value)}`),
  }
}

/** One of the given words or numbers. */
export function oneOf<const T extends string | number>(...allowed: readonly T[]): Schema<T> {
  return {
    read(value, field, issues) {
      const found = allowed.find((candidate) => candidate === value)
      if (found !== undefined) return found
      const got = typeof value === 'string' || typeof value === 'number' ? JSON.stringify(value) : typeName(value)
      const near =
        typeof value === 'string'
          ? nearestName(
              value,
              allowed.filter((word) => typeof word === 'string'),
            )
          : undefined
      return fail(issues, field, `expected ${listed(allowed)}, got ${got}${near ? ` (did you mean ${near}?)` : ''}`)
    },
  }
}

/** Either a string or a whole number, as `targetPort` is. */
export function stringOrInteger(min: number, max: number): Schema<string | number> {
  const text = string()
  const whole = integer(min, max)
  return { read: (value, field, issues) => (typeof value === 'number' ? whole : text).read(value, field, issues) }
}

/** A list of at least `min` (default 0) and at most `max` items. */
export function list<T>(item: Schema<T>, bounds: { min?: number; max?: number } = {}): Schema<readonly T[]> {
  const { min = 0, max = Number.POSITIVE_INFINITY } = bounds
  return {
    read(value, field, issues) {
      if (!Array.isArray(value)) return fail(issues, field, `expected a list, got ${typeName(value)}`)
      if (value.length < min) {
        const text =
          value.length === 0 ? 'is an empty list: fill it or remove the field' : `needs at least ${min} items`
        return fail(issues, field, text)
      }
      if (value.length > max) return fail(issues, field, `has ${value.length} items, at most ${max} are allowed`)
      const out: T[] = []
      let failed = false
      for (const [index, element] of value.entries()) {
        const read = item.read(element, `${field}[${index}]`, issues)
        if (read === FAILED) failed = true
        else out.push(read)
      }
      return failed ? FAILED : out
    },
  }
}

/** A mapping with free keys, such as labels. */
export function map<T>(item: Schema<T>, ...keyChecks: readonly Check<string>[]): Schema<Readonly<Record<string, T>>> {
  return {
    read(value, field, issues) {
      if (!isRecord(value)) return fail(issues, field, `expected a mapping, got ${typeName(value)}`)
      const out: [string, T][] = []
      let failed = false
      for (const [key, element] of Object.entries(value)) {
        if (checked(key, keyChecks, `${field}[${key}]`, issues) === FAILED) failed = true
        const read = item.read(element, `${field}[${key}]`, issues)
        if (read === FAILED) failed = true
        else out.push([key, read])
      }
      return failed ? FAILED : Object.fromEntries(out)
    },
  }
}

export type Strictness = 'strict' | 'lenient'

/** A mapping with known fields. `strict`: see the head of this file. `refuse` names fields with a reason of their own. */
export function object<F extends Readonly<Record<string, Field>>>(
  strictness: Strictness,
  fields: F,
  refuse: Readonly<Record<string, string>> = {},
): Schema<ObjectOutput<F>> {
  const names = Object.keys(fields)
  return {
    read(value, field, issues) {
      if (!isRecord(value)) return fail(issues, field, `expected a mapping, got ${typeName(value)}`)
      const out: [string, unknown][] = []
      let failed = false
      for (const name of names) {
        const schema = fields[name]
        if (schema === undefined) continue
        const read = readField(
          schema,
          Object.hasOwn(value, name) ? value[name] : undefined,
          join(field, name),
          strictness,
          issues,
        )
        if (read === FAILED) failed = true
        else if (read !== undefined) out.push([name, read])
      }
      if (strictness === 'strict') {
        for (const name of Object.keys(value)) {
          if (Object.hasOwn(fields, name)) continue
          failed = true
          const reason = Object.hasOwn(refuse, name) ? refuse[name] : undefined
          const near = nearestName(name, names)
          const guess = near ? `; did you mean ${near}?` : ''
          issues.push({ field: join(field, name), message: reason ?? `unknown field${guess}` })
        }
      }
      // The entries were read by the schemas of `fields`, one by one: this is their object.
      return failed ? FAILED : (Object.fromEntries(out) as ObjectOutput<F>)
    },
  }
}

/** Judges a value that is well-formed by itself: `rule` appends what is wrong to `issues`. */
export function refine<T>(schema: Schema<T>, rule: (value: T, field: string, issues: Issue[]) => void): Schema<T> {
  return {
    read(value, field, issues) {
      const read = schema.read(value, field, issues)
      if (read === FAILED) return FAILED
      const before = issues.length
      rule(read, field, issues)
      return issues.length > before ? FAILED : read
    },
  }
}

/** Turns a value that fits into another one. */
export function mapped<T, U>(schema: Schema<T>, turn: (value: T) => U): Schema<U> {
  return {
    read(value, field, issues) {
      const read = schema.read(value, field, issues)
      return read === FAILED ? FAILED : turn(read)
    },
  }
}

/** What a value is, in the words of YAML. */
export function typeName(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a mapping'
  return typeof value
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readField(schema: Field, value: unknown, field: string, strictness: Strictness, issues: Issue[]): unknown {
  const absent = value === undefined || (value === null && strictness === 'lenient')
  if ('optional' in schema) return absent ? undefined : schema.optional.read(value, field, issues)
  if ('present' in schema) return absent ? schema.absent : schema.present.read(value, field, issues)
  return absent ? fail(issues, field, 'is missing') : schema.read(value, field, issues)
}

function checked<T>(value: T, checks: readonly Check<T>[], field: string, issues: Issue[]): Read<T> {
  for (const check of checks) {
    const wrong = check(value)
    if (wrong !== undefined) return fail(issues, field, wrong)
  }
  return value
}

function fail(issues: Issue[], field: string, message: string): typeof FAILED {
  issues.push({ field, message })
  return FAILED
}

function join(field: string, name: string): string {
  return field === '' ? name : `${field}.${name}`
}

function listed(words: readonly (string | number)[]): string {
  const last = words.at(-1)
  return words.length < 2 ? String(last) : `${words.slice(0, -1).join(', ')} or ${last}`
}
