/** Questions to the agent. What can go wrong comes back as a value. */

export type Asked<T> =
  | { readonly kind: 'answer'; readonly value: T }
  /** It answered, and not with what was asked for. */
  | { readonly kind: 'refused'; readonly status: number; readonly says: string }
  | { readonly kind: 'gone' }

const TIMEOUT_MS = 8_000

/** The agent is of the page's version: its answer is taken to have the shape asked for. */
export async function ask<T>(path: string, init: RequestInit = {}): Promise<Asked<T>> {
  try {
    const response = await fetch(path, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS), cache: 'no-store' })
    const text = await response.text()
    if (!response.ok) return { kind: 'refused', status: response.status, says: errorIn(text, response.status) }
    return { kind: 'answer', value: (text === '' ? undefined : JSON.parse(text)) as T }
  } catch {
    return { kind: 'gone' }
  }
}

function errorIn(text: string, status: number): string {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && 'error' in value) return String(value.error)
  } catch {
    // Not JSON: the status says enough.
  }
  return `The agent answered ${status}`
}

/** Paths of another node's agent lie below /nodes. */
export function pathAt(node: string, path: string): string {
  return node === '' ? path : `/nodes/${encodeURIComponent(node)}${path}`
}

export function socketAt(node: string, path: string): WebSocket {
  return new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${pathAt(node, path)}`)
}
