/** What the YAML parser complains of, in the words of someone who writes manifests, with line and column. */

interface Words {
  /** The beginning of the parser's own words. */
  readonly pattern: RegExp
  /** `$1` is what the pattern's group found. */
  readonly what: string
  readonly remedy: string
}

/** What is not here is told in the parser's words. */
const PLAIN: readonly Words[] = [
  {
    pattern: /^With stringKeys, all keys must be strings/,
    what: 'a key of a mapping is no plain text',
    remedy: 'put text in braces, such as a template {{ … }}, in quotes',
  },
  { pattern: /^Tabs are not allowed as indentation/, what: 'a tab in the indentation', remedy: 'indent with spaces' },
  { pattern: /^Map keys must be unique/, what: 'a key is given twice in one mapping', remedy: 'keep one of them' },
  {
    pattern: /^Nested mappings are not allowed in compact mappings/,
    what: 'two keys on one line, or a value that holds ": "',
    remedy: 'put such a value in quotes',
  },
  {
    pattern: /^All (?:mapping|collection|sequence) items must start at the same column/,
    what: 'a line is indented otherwise than those beside it',
    remedy: 'align them',
  },
  { pattern: /^Missing closing (["'])quote/, what: 'a quoted text does not end', remedy: 'close it with $1' },
  {
    pattern: /^Flow (?:map|sequence) in block collection .* end with a (.)/,
    what: 'a bracket is not closed',
    remedy: 'add the missing $1',
  },
  {
    pattern: /^Unexpected flow-(?:map|seq)-end token in YAML stream: "(.)"/,
    what: 'a $1 too many',
    remedy: 'remove it, or open it before',
  },
  {
    pattern: /^Implicit (?:map )?keys need to be (?:followed by map values|on a single line)/,
    what: 'expected "key: value"',
    remedy: 'add the colon and the space, or indent the text',
  },
  {
    pattern: /^Plain value cannot start with (?:reserved character|directive indicator character) (.)/,
    what: 'a value may not begin with $1',
    remedy: 'put it in quotes',
  },
  {
    pattern: /^A block sequence may not be used as an implicit map key/,
    what: 'a list item where a key is expected',
    remedy: 'indent the list, or remove the "- "',
  },
  {
    pattern: /^Alias cannot be an empty string/,
    what: 'a * that is not in quotes',
    remedy: 'put text that begins with * in quotes',
  },
  {
    pattern: /^Unresolved alias .*: (.+)/,
    what: '*$1 refers to an anchor that is not there',
    remedy: 'put text that begins with * in quotes',
  },
]

/** One line, without a full stop. */
export function describeYamlError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const first = (message.split('\n', 1)[0] ?? '').replace(/:$/, '')
  const words = PLAIN.find(({ pattern }) => pattern.test(first))
  if (words === undefined) return first
  const found = words.pattern.exec(first)?.[1] ?? ''
  const fill = (text: string) => text.replaceAll('$1', () => found)
  const place = / at line \d+, column \d+$/.exec(first)?.[0] ?? ''
  return `${fill(words.what)}${place}: ${fill(words.remedy)}`
}
