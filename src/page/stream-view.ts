/** What the views of requests and of logs have in common: a form that says which, a list, a word on how it goes. */
import { h } from './element.ts'
import { LineList } from './line-list.ts'
import { Stream, type StreamRecord } from './stream.ts'
import { commandLine } from './table.ts'

export interface Field {
  readonly name: string
  readonly label: string
  readonly value: string
  readonly hint?: string
  /** A choice instead of a text: value and what it is called. */
  readonly choices?: readonly (readonly [string, string])[]
}

export interface StreamPlan {
  readonly label: string
  readonly node: string
  readonly fields: readonly Field[]
  /** By the fields' names. */
  pathOf(values: ReadonlyMap<string, string>): string
  commandOf(values: ReadonlyMap<string, string>): string
  /** Undefined: not to be shown. */
  lineOf(record: StreamRecord, values: ReadonlyMap<string, string>): HTMLElement | undefined
}

export interface StreamView {
  readonly element: HTMLElement
  close(): void
}

export function openStreamView(plan: StreamPlan): StreamView {
  const list = new LineList(plan.label)
  const state = h('p', { class: 'dim', role: 'status' }, 'asking …')
  const command = h('div', {}, commandLine(''))
  const pause = h('button', { type: 'button', 'aria-pressed': 'false' }, 'Pause')
  const inputs = plan.fields.map((field) => [field, inputOf(field)] as const)
  const values = () => new Map(inputs.map(([{ name }, input]) => [name, input.value.trim()]))
  const form = h(
    'form',
    { class: 'filters' },
    ...inputs.map(([{ label }, input]) => h('label', {}, h('span', {}, label), input)),
    h('button', { type: 'submit' }, 'Show'),
    pause,
  )
  let stream: Stream | undefined
  const open = (): void => {
    stream?.close()
    list.clear()
    const chosen = values()
    command.replaceChildren(commandLine(plan.commandOf(chosen)))
    stream = new Stream(plan.node, plan.pathOf(chosen), {
      record: (record) => {
        const line = plan.lineOf(record, chosen)
        if (line !== undefined) list.add(line)
      },
      state: (says) => {
        state.textContent = says
      },
    })
  }
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    open()
  })
  pause.addEventListener('click', () => {
    const isPaused = pause.getAttribute('aria-pressed') !== 'true'
    pause.setAttribute('aria-pressed', String(isPaused))
    list.paused = isPaused
  })
  open()
  const element = h('section', { 'data-own': plan.label }, command, form, state, list.element)
  return { element, close: () => stream?.close() }
}

/** As a shell takes it for one word. */
export function quoted(word: string): string {
  return /^[\w./:=@-]*$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

function inputOf({ name, value, hint, choices }: Field): HTMLInputElement | HTMLSelectElement {
  if (choices === undefined) {
    return h('input', { name, value, placeholder: hint, autocomplete: 'off', spellcheck: 'false' })
  }
  const options = choices.map(([choice, label]) =>
    h('option', { value: choice, selected: choice === value ? '' : undefined }, label),
  )
  return h('select', { name }, ...options)
}
