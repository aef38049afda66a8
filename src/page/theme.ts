/** Light, dark, or what the system says: a choice that the browser remembers. */
import { h } from './element.ts'

const KEY = 'weir-theme'
const THEMES = ['system', 'light', 'dark'] as const

export function themeSwitch(): HTMLElement {
  const options = THEMES.map((theme) => h('option', { value: theme }, theme))
  const select = h('select', { id: 'theme' }, ...options)
  const known = THEMES.find((theme) => theme === remembered())
  select.value = known ?? 'system'
  apply(select.value)
  select.addEventListener('change', () => {
    apply(select.value)
    remember(select.value)
  })
  return h('label', {}, h('span', {}, 'Colours'), select)
}

function apply(theme: string): void {
  if (theme === 'system') document.documentElement.removeAttribute('data-theme')
  else document.documentElement.setAttribute('data-theme', theme)
}

function remembered(): string | null {
  try {
    return localStorage.getItem(KEY)
  } catch {
    return null
  }
}

function remember(theme: string): void {
  try {
    localStorage.setItem(KEY, theme)
  } catch {
    // Storage may be off: then it lasts as long as the page.
  }
}
