/** Asks for the token where the agent wants one. The browser keeps a cookie that scripts cannot read. */
import { ask } from './ask.ts'
import { h } from './element.ts'

export function loginForm(done: () => void): HTMLElement {
  const input = h('input', {
    id: 'token',
    type: 'password',
    autocomplete: 'current-password',
    required: '',
    size: '44',
  })
  const says = h('p', { role: 'alert' })
  const form = h(
    'form',
    { class: 'filters' },
    h('label', { for: 'token' }, h('span', {}, 'Token')),
    input,
    h('button', { type: 'submit' }, 'Sign in'),
  )
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    void signIn(input.value.trim()).then((problem) => {
      says.textContent = problem ?? ''
      if (problem === undefined) done()
      else input.select()
    })
  })
  const file = h('code', {}, 'cat /run/weir/admin-token')
  const hint = h(
    'p',
    { class: 'dim' },
    'It is in a file of the agent, by default: ',
    file,
    ' on the node or in its pod.',
  )
  return h('section', { 'data-own': 'login' }, h('p', {}, 'This agent asks for a token.'), form, says, hint)
}

/** Undefined when it is done, else why not. */
async function signIn(token: string): Promise<string | undefined> {
  if (!/^[\x21-\x7e]+$/.test(token)) return 'A token is one word of visible characters.'
  const answer = await ask('/login', { method: 'POST', headers: { authorization: `Bearer ${token}` } })
  if (answer.kind === 'gone') return 'The agent does not answer.'
  return answer.kind === 'refused' ? answer.says : undefined
}

export async function signOut(): Promise<void> {
  await ask('/logout', { method: 'POST' })
}
