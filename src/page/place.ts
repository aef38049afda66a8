/** What of the page is shown: it is all in the part of the address behind #, so that it can be sent to somebody. */

export interface Place {
  /** First of them: the view. */
  readonly words: readonly string[]
  /** Empty: the node of the agent that serves the page. */
  readonly node: string
  readonly parameters: ReadonlyMap<string, string>
}

export function placeOf(hash: string): Place {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2)
  const parameters = new Map(new URLSearchParams(query))
  const words = path.split('/').map(decoded)
  return { words: words[0] === '' ? ['now'] : words, node: parameters.get('node') ?? '', parameters }
}

/** The address of a place; empty parameters are left out. */
export function hashOf(
  words: readonly string[],
  node: string,
  parameters: Readonly<Record<string, string>> = {},
): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries({ ...parameters, node })) if (value !== '') query.set(name, value)
  const text = query.toString()
  return `#/${words.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`
}

function decoded(word: string): string {
  try {
    return decodeURIComponent(word)
  } catch {
    return word
  }
}
