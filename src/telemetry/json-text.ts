/** JSON string literals for log lines that carry what strangers sent. */

/** Longest value that a log line shows; the rest is cut off, so that a 64 KiB path does not become a 64 KiB line. */
export const MAX_LOGGED_CHARS = 4096

const NEEDS_ESCAPE = /["\\\u0000-\u001f\u007f-\uffff]/
const NEEDS_MORE = /[\u007f-\uffff]/g

/**
 * `value` as a JSON string with its quotes, in ASCII: a line is then encoded by copying it, and holds nothing that a
 * terminal obeys (DEL, C1 control characters) or that UTF-8 cannot carry (lone surrogates).
 */
export function jsonText(value: string): string {
  if (value.length > MAX_LOGGED_CHARS) return escaped(`${value.slice(0, MAX_LOGGED_CHARS)}…`)
  return NEEDS_ESCAPE.test(value) ? escaped(value) : `"${value}"`
}

function escaped(value: string): string {
  const json = JSON.stringify(value)
  return json.replace(NEEDS_MORE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
