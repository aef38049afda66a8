import t from 'tap'
import { readManifest } from '../../../src/discovery/manifest-file.ts'

const POD = 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n'

function messages(text: string): string[] {
  return readManifest('f.yaml', Buffer.from(text)).problems.map(({ field, message }) =>
    field === undefined ? message : `${field}: ${message}`,
  )
}

t.test('mistakes in YAML are told in plain words with line, column and remedy', (t) => {
  const cases: [string, string][] = [
    ['  {{ .x }}: 1', 'a key of a mapping is no plain text at line 5, column 4: put text in braces'],
    ['\tx: 1', 'a tab in the indentation at line 5, column 1: indent with spaces'],
    ['  name: b', 'a key is given twice in one mapping at line 5, column 3: keep one of them'],
    [' x: b', 'a line is indented otherwise than those beside it at line 5, column 1: align them'],
    ['  x: "abc', 'a quoted text does not end at line 6, column 1: close it with "'],
    ['  x: a: b', 'two keys on one line, or a value that holds ": " at line 5, column 6: put such a value in quotes'],
    ['  x: [a', 'a bracket is not closed at line 6, column 1: add the missing ]'],
    ['  x: {a}}', 'a } too many at line 5, column 9: remove it'],
    ['  x: *foo', '*foo refers to an anchor that is not there: put text that begins with * in quotes'],
    ['  x: @foo', 'a value may not begin with @ at line 5, column 6: put it in quotes'],
    ['- x', 'a list item where a key is expected at line 5, column 1: indent the list'],
    ['x', 'expected "key: value" at line 5, column 1: add the colon'],
  ]
  for (const [line, expected] of cases) {
    const [first, ...more] = messages(`${POD}${line}\n`)
    t.equal(first?.slice(0, `not valid YAML: ${expected}`.length), `not valid YAML: ${expected}`)
    t.strictSame(more, [])
  }
  t.end()
})

t.test('opting in without quotes is one problem, whose remedy makes a valid file', (t) => {
  const file = (word: string) => `${POD}  annotations:\n    weir.dev/mesh: ${word}\n`
  t.strictSame(messages(file('true')), [
    'metadata.annotations[weir.dev/mesh]: expected enabled or disabled, got true: write enabled',
  ])
  t.strictSame(messages(file('false')), [
    'metadata.annotations[weir.dev/mesh]: expected enabled or disabled, got false: write disabled',
  ])
  t.strictSame(messages(file('enabled')), [])
  t.end()
})
