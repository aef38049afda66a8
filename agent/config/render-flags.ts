/** Flags as --help shows them: wrapped, each with its default. */
import type { Flag, Flags } from './flag.ts'

const WIDTH = 120

/** @param column where what is said of them begins */
export function renderFlags(flags: Flags, column: number): string {
  return Object.entries(flags)
    .map(([name, flag]) => renderFlag(name, flag, column))
    .join('\n')
}

function renderFlag(name: string, flag: Flag, column: number): string {
  const head = `  --${name}${flag.value === undefined ? '' : ` ${flag.value}`}`
  const indent = ' '.repeat(column)
  const lines = [head.length < column ? head.padEnd(column) : `${head}\n${indent}`]
  let left = WIDTH - column
  for (const word of textOf(flag).split(' ')) {
    if (word.length > left) {
      lines.push(indent)
      left = WIDTH - column
    }
    lines[lines.length - 1] += `${word} `
    left -= word.length + 1
  }
  return lines.map((line) => line.trimEnd()).join('\n')
}

function textOf({ says, default: value, defaultSays = value }: Flag): string {
  if (defaultSays === undefined || defaultSays === '') return says
  return `${says}${says === '' ? '' : '; '}default ${defaultSays}`
}
