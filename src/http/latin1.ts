/** Bytes as latin1 text: one native call, without the argument checks of `toString`. */
type Latin1Buffer = Buffer & { latin1Slice(start: number, end: number): string }

export function latin1(bytes: Buffer, start: number, end: number): string {
  return (bytes as Latin1Buffer).latin1Slice(start, end)
}
