/** A command line as its flags have it: what was given, and what holds where nothing was. */
import { nearestName } from '#schema'
import type { Flags } from './flag.ts'

export class Given {
  readonly #flags: Flags
  readonly #values: ReadonlyMap<string, string>

  /** @param values of flags that were given; a switch has an empty one */
  constructor(flags: Flags, values: ReadonlyMap<string, string>) {
    this.#flags = flags
    this.#values = values
  }

  has(name: string): boolean {
    this.#known(name)
    return this.#values.has(name)
  }

  /** Its default where it was not given; empty where it has none. */
  text(name: string): string {
    return this.#values.get(name) ?? this.#known(name).default ?? ''
  }

  number(name: string): number {
    return Number(this.text(name))
  }

  #known(name: string) {
    const flag = this.#flags[name]
    if (flag === undefined) throw new Error(`There is no flag --${name}`)
    return flag
  }
}

export type ReadArguments =
  | { readonly kind: 'help' }
  | { readonly kind: 'given'; readonly given: Given; readonly errors: readonly string[] }

export function readArguments(flags: Flags, args: readonly string[]): ReadArguments {
  const known = Object.keys(flags).map((name) => `--${name}`)
  const values = new Map<string, string>()
  const errors: string[] = []
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] ?? ''
    if (argument === '--help' || argument === '-h') return { kind: 'help' }
    const equals = argument.indexOf('=')
    const written = equals < 0 ? argument : argument.slice(0, equals)
    const flag = known.includes(written) ? flags[written.slice(2)] : undefined
    if (flag === undefined) {
      const near = argument.startsWith('--') ? nearestName(written, known) : undefined
      const rest = near === undefined ? '; see' : `; did you mean ${near}? See`
      errors.push(`Unknown argument ${argument}${rest} weir agent --help.`)
      // Its value was meant for the other one, which is not told as missing too.
      if (near === undefined || flags[near.slice(2)]?.value === undefined) continue
      values.set(near.slice(2), equals < 0 ? (args[++i] ?? '') : argument.slice(equals + 1))
      continue
    }
    const name = written.slice(2)
    if (flag.value === undefined) {
      if (equals >= 0) errors.push(`--${name}: takes no value.`)
      values.set(name, '')
      continue
    }
    const value = equals >= 0 ? argument.slice(equals + 1) : args[++i]
    const wrong = value === undefined ? 'needs a value' : flag.wrong?.(value)
    if (wrong !== undefined) errors.push(`--${name}: ${wrong}.`)
    else if (values.has(name)) errors.push(`--${name}: given twice.`)
    values.set(name, value ?? '')
  }
  for (const [name, { required }] of Object.entries(flags)) {
    if (required !== undefined && !values.has(name))
      errors.push(`--${name}: missing; give it as ${required} (see weir agent --help).`)
  }
  return { kind: 'given', given: new Given(flags, values), errors }
}
