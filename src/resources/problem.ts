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

/** One line: `shop.yaml (document 2, item 3): Pod shop/web: spec.nodeName: expected a string, got number`. */
export function renderProblem(problem: Problem): string {
  const numbers = [
    ...(problem.document === undefined ? [] : [`document ${problem.document}`]),
    ...(problem.item === undefined ? [] : [`item ${problem.item}`]),
  ]
  const place = numbers.length > 0 ? ` (${numbers.join(', ')})` : ''
  const file = problem.file === undefined ? '' : `${problem.file}${place}: `
  const object = problem.object === undefined ? '' : `${problem.object}: `
  const field = problem.field ? `${problem.field}: ` : ''
  return `${file}${object}${field}${problem.message}`.replaceAll(/\s+/g, ' ')
}
