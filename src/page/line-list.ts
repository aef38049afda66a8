/**
 * Lines that come by themselves: the newest at the end, only so many kept, shown together once a frame. Follows the end until
 * one scrolls up, and while it is paused, what comes is counted only.
 */
import { h } from './element.ts'

const MAX_LINES = 1_000

export class LineList {
  readonly element: HTMLElement
  /** What is scrolled. */
  readonly #box: HTMLElement
  readonly #list: HTMLElement
  readonly #more: HTMLElement
  #waiting: HTMLElement[] = []
  #frame = 0
  #isPaused = false
  #held = 0

  constructor(label: string) {
    this.#list = h('ol', {})
    // Not the list itself: that would be a list no more.
    this.#box = h(
      'div',
      { class: 'lines', 'data-own': 'lines', role: 'log', 'aria-live': 'off', 'aria-label': label, tabindex: '0' },
      this.#list,
    )
    this.#more = h('p', { class: 'dim' })
    this.element = h('div', { 'data-own': 'line-list' }, this.#box, this.#more)
  }

  set paused(isPaused: boolean) {
    this.#isPaused = isPaused
    this.#held = 0
    this.#more.textContent = ''
  }

  clear(): void {
    this.#waiting = []
    this.#list.replaceChildren()
  }

  add(line: HTMLElement): void {
    if (this.#isPaused) {
      this.#held += 1
      this.#more.textContent = `Paused; ${this.#held} more have come.`
      return
    }
    this.#waiting.push(line)
    if (this.#waiting.length > MAX_LINES) this.#waiting.shift()
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#show())
  }

  #show(): void {
    this.#frame = 0
    const list = this.#list
    const box = this.#box
    const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40
    list.append(...this.#waiting)
    this.#waiting = []
    while (list.childElementCount > MAX_LINES) list.firstElementChild?.remove()
    if (isAtEnd) box.scrollTop = box.scrollHeight
  }
}
