/** Tables that scroll sideways inside themselves where there is no room. */
import { type Child, h } from './element.ts'

export interface Column {
  readonly head: string
  /** To the right, as numbers are. */
  readonly isNumber?: boolean
}

export interface Row {
  readonly key: string
  readonly cells: readonly Child[]
  /** `bad`: a word in one of the cells says why. */
  readonly mood?: 'bad' | 'dim'
}

export function renderTable(caption: string, columns: readonly Column[], rows: readonly Row[]): HTMLElement {
  const classOf = (at: number) => (columns[at]?.isNumber === true ? 'number' : undefined)
  const heads = columns.map(({ head }, at) => h('th', { scope: 'col', class: classOf(at) }, head))
  const lines = rows.map(({ key, cells, mood }) => {
    const line = cells.map((cell, at) =>
      at === 0 ? h('th', { scope: 'row' }, cell) : h('td', { class: classOf(at) }, cell),
    )
    return h('tr', { class: mood, 'data-key': key }, ...line)
  })
  return h(
    'div',
    { class: 'wide', role: 'region', 'aria-label': caption, tabindex: '0' },
    h('table', {}, h('caption', {}, caption), h('thead', {}, h('tr', {}, ...heads)), h('tbody', {}, ...lines)),
  )
}

/** The command that tells the same in a terminal. */
export function commandLine(command: string): HTMLElement {
  return h('p', { class: 'command' }, 'The same in a terminal: ', h('code', {}, command))
}
