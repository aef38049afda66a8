/** Lines of several writers in the order of time, without holding more of each than one block. */

export interface Block<L> {
  readonly lines: readonly L[]
}

interface Source<T, L> {
  readonly of: T
  readonly blocks: AsyncIterator<readonly L[]>
  block: readonly L[]
  at: number
}

/** Lines of one writer stay in the order in which they were written. */
export async function* mergeLines<T, L extends { readonly micros: number }>(
  sources: readonly { readonly of: T; readonly blocks: AsyncGenerator<readonly L[]> }[],
): AsyncGenerator<readonly [T, L]> {
  const heap: Source<T, L>[] = []
  try {
    for (const { of, blocks } of sources) {
      const source: Source<T, L> = { of, blocks, block: [], at: 0 }
      if (await fill(source)) push(heap, source)
    }
    for (let first = heap[0]; first !== undefined; first = heap[0]) {
      const line = first.block[first.at]
      if (line !== undefined) yield [first.of, line]
      first.at++
      if (first.at >= first.block.length && !(await fill(first))) {
        const last = heap.pop()
        if (last === undefined || last === first) continue
        heap[0] = last
      }
      sink(heap)
    }
  } finally {
    for (const { blocks } of sources) await blocks.return(undefined)
  }
}

async function fill<T, L>(source: Source<T, L>): Promise<boolean> {
  const { done, value } = await source.blocks.next()
  source.block = done === true ? [] : value
  source.at = 0
  return source.block.length > 0
}

function keyOf<T, L extends { readonly micros: number }>({ block, at }: Source<T, L>): number {
  return block[at]?.micros ?? Number.POSITIVE_INFINITY
}

function push<T, L extends { readonly micros: number }>(heap: Source<T, L>[], source: Source<T, L>): void {
  heap.push(source)
  for (let i = heap.length - 1; i > 0; ) {
    const up = (i - 1) >> 1
    if (!swapIfLess(heap, i, up)) return
    i = up
  }
}

function sink<T, L extends { readonly micros: number }>(heap: Source<T, L>[]): void {
  for (let i = 0; ; ) {
    const [left, right] = [2 * i + 1, 2 * i + 2]
    const least = isLess(heap, right, left) ? right : left
    if (!swapIfLess(heap, least, i)) return
    i = least
  }
}

function isLess<T, L extends { readonly micros: number }>(
  heap: readonly Source<T, L>[],
  a: number,
  b: number,
): boolean {
  const [one, other] = [heap[a], heap[b]]
  return one !== undefined && other !== undefined && keyOf(one) < keyOf(other)
}

function swapIfLess<T, L extends { readonly micros: number }>(heap: Source<T, L>[], a: number, b: number): boolean {
  const [one, other] = [heap[a], heap[b]]
  if (one === undefined || other === undefined || keyOf(one) >= keyOf(other)) return false
  heap[a] = other
  heap[b] = one
  return true
}
