/**
 * Prints the page's files as JSON: path below src → text, scripts without their types. A process that ends: what strips
 * types takes 30 MiB, which the agent would keep.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'

const SOURCES = join(import.meta.dirname, '../../../src')
/** What the page has in common with the command line, by the name it imports it by. */
const SHARED: Readonly<Record<string, readonly string[]>> = {
  '#observer': ['observer/traffic-rates.ts', 'observer/percentile.ts'],
}

function scriptText(path: string): string {
  const code = stripTypeScriptTypes(readFileSync(join(SOURCES, path), 'utf8'), { mode: 'strip' })
  // What is left of types and comments is blank lines and indents; a browser reads no name that begins with #.
  const lines = code.split('\n').map((line) => line.trimEnd())
  const compact = lines.filter((line) => line !== '').join('\n')
  return Object.entries(SHARED).reduce(
    (text, [name, [file = '']]) => text.replaceAll(` from '${name}'`, ` from '../${file}'`),
    `${compact}\n`,
  )
}

const own = readdirSync(join(SOURCES, 'page')).filter((name) => /\.(ts|css|html)$/.test(name))
const paths = [...own.map((name) => `page/${name}`), ...Object.values(SHARED).flat()]
const textOf = (path: string) => (path.endsWith('.ts') ? scriptText(path) : readFileSync(join(SOURCES, path), 'utf8'))
process.stdout.write(JSON.stringify(Object.fromEntries(paths.map((path) => [path, textOf(path)]))))
