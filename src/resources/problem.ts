/**
 * What is wrong with an object or a file, as a value: the same shape from the parser, from the sources and
 * from the compiler of the mesh, and one way of writing it on one line.
 */

/** Where an object was read. */
export interface Origin {
  /** Name of the file, without its directory. */
  readonly file: string
  /** Number of the YAML document in the file, from 1. */
  readonly document: number
  /** Number of the item, from 1, when the document is a List. */
  readonly item?: number
}

export interface Problem {
  /** Absent for an error: something is refused, or is not in force. A warning refuses nothing. */
  readonly severity?: 'warning'
  readonly file?: string
  readonly document?: number
  readonly item?: number
  /** `Kind namespace/name`, or `Kind name` for what has no namespace. */
  readonly object?: string
  /** Path within the object, e.g. `spec.rules[0].to[0].operation.methods[1]`. */
  readonly field?: string
  /** What is wrong and, where it is not plain, the remedy. One line. */
  readonly message: string
}

/** Where it is: `shop.yaml (document 2, item 3): Pod shop/web`; empty when nobody knows. */
export function renderPlace({ file, document, item, object }: Problem): string {
  const numbers = [
    ...(document === undefined ? [] : [`document ${document}`]),
    ...(item === undefined ? [] : [`item ${item}`]),
  ]
  const place = numbers.length > 0 ? ` (${numbers.join(', ')})` : ''
  const parts = [...(file === undefined ? [] : [`${file}${place}`]), ...(object === undefined ? [] : [object])]
  return oneLine(parts.join(': '))
}

/** What it is: `spec.nodeName: expected a string, got number`. */
export function renderFault({ field, message }: Problem): string {
  return oneLine(field ? `${field}: ${message}` : message)
}

/** Place and fault on one line. */
export function renderProblem(problem: Problem): string {
  const place = renderPlace(problem)
  return place === '' ? renderFault(problem) : `${place}: ${renderFault(problem)}`
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ')
}
