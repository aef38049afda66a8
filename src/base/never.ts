/** Closes a switch over a union: a case left out is a compile error, and at run time a bug that says so. */
export function never(value: never): never {
  throw new Error(`Unexpected value ${JSON.stringify(value)}.`)
}
