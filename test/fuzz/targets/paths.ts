/** Paths as policies read them: refused, or readings without what a server could resolve, the first of them a fixed point. */
import { normalizePath } from '#policy'
import { readPaths } from '../../../src/policy/normalize-path.ts'
import { type FuzzTarget, rule } from '../target.ts'

const MAX_READINGS = 64

export const paths: FuzzTarget = {
  name: 'paths',
  dictionary: [
    '/',
    '//',
    '/./',
    '/../',
    '%2e',
    '%2E%2e',
    '%2f',
    '%5c',
    '\\',
    '%25',
    '%252e',
    ';',
    '/..;/',
    '%c0%af',
    '%00',
    '?',
    '#',
    '%',
    '*',
    '%e2%82%ac',
  ],
  maxBytes: 300,
  run(input) {
    const raw = input.toString('latin1')
    const readings: string[] = []
    const refused = readPaths(raw, readings)
    const normal = normalizePath(raw)
    rule((refused === undefined) === 'path' in normal, () => `read and refused: ${refused}`)
    if (!('path' in normal)) return `refused: ${normal.reject.replace(/["\d].*/s, '')}`
    const { path } = normal
    rule(
      readings[0] === path && readings.length <= MAX_READINGS,
      () => `${readings.length} readings, the first ${readings[0]}`,
    )
    rule(new Set(readings).size === readings.length, () => 'a reading twice')
    rule(path === '*' || path.startsWith('/'), () => `${path} does not begin with a slash`)
    rule(!/\/\/|\\|\/\.{1,2}(?:\/|$)|[\0- \x7f-\xff]/.test(path), () => `not normal: ${JSON.stringify(path)}`)
    const again = normalizePath(path)
    rule('path' in again && again.path === path, () => `${path} becomes ${JSON.stringify(again)} the second time`)
    return `${readings.length} ${path.includes('%')}`
  },
}
