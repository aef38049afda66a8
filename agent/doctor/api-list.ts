/** Whole lists of objects for a look at them: page by page, so far as they are not too many. */
import type { KubernetesApi } from '#kubernetes'

const PAGE = 500
const MAX_OBJECTS = 20_000

export interface ListOptions {
  readonly labelSelector?: string
  readonly signal: AbortSignal
}

/** @throws KubernetesError; an Error when there are more than 20,000 */
export async function listObjects(
  api: Pick<KubernetesApi, 'request'>,
  path: string,
  { labelSelector, signal }: ListOptions,
): Promise<readonly unknown[]> {
  const found: unknown[] = []
  let next: string | undefined
  do {
    const query = { limit: PAGE, labelSelector, continue: next }
    const answer: ListAnswer = (await api.request('GET', path, { query, signal })) ?? {}
    found.push(...(Array.isArray(answer.items) ? answer.items : []))
    if (found.length > MAX_OBJECTS) throw new Error(`There are more than ${MAX_OBJECTS} of ${path}; look by hand.`)
    next = answer.metadata?.continue
  } while (next !== undefined && next !== '')
  return found
}

interface ListAnswer {
  readonly items?: unknown
  readonly metadata?: { readonly continue?: string }
}
