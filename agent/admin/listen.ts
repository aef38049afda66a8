/** Where the admin servers listen, and in words why they cannot. */
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import type { Server } from 'node:http'
import { connect, isIP } from 'node:net'
import { errorLine, WeirError } from '#base'

/** Makes the socket with mode 0600. One that a dead agent left is replaced; a live one is an error. */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  if (await answers(path)) {
    throw listenError(path, 'another agent is running on this state directory; stop it or choose another --state-dir')
  }
  rmSync(path, { force: true })
  // The socket is made inside listen(), so that nobody can connect before its mode is right.
  const before = process.umask(0o177)
  const listening = listen(server, path, () => server.listen({ path, backlog: 16 }))
  process.umask(before)
  await listening
}

/** Answers the address in fact. */
export async function listenOnAddress(server: Server, address: string): Promise<string> {
  const target = parseAddress(address)
  if (target === undefined) throw listenError(address, 'not HOST:PORT; give --admin as 127.0.0.1:15000 or [::1]:15000')
  await listen(server, address, () => server.listen({ ...target, backlog: 64 }))
  const bound = server.address()
  if (bound === null || typeof bound === 'string') return address
  return bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`
}

async function listen(server: Server, where: string, start: () => void): Promise<void> {
  try {
    const listening = once(server, 'listening')
    start()
    await listening
  } catch (error) {
    throw listenError(where, reason(error), error)
  }
}

function reason(error: unknown): string {
  const code = codeOf(error)
  if (code === 'EADDRINUSE') return 'the address is in use; choose another with --admin'
  if (code === 'EADDRNOTAVAIL') return 'this machine does not have that address; choose another with --admin'
  if (code === 'ENOENT') return 'the directory does not exist; make it or choose another --state-dir'
  if (code === 'EACCES') return 'not permitted; run as root or choose another --state-dir or --admin'
  return errorLine(error)
}

/** `HOST:PORT` that only processes of this network namespace reach. */
export function isLoopback(address: string): boolean {
  return /^(127\.|localhost:|\[::1\])/.test(address)
}

/** Of what `listenOnAddress` threw. */
export function isAddressInUse(thrown: unknown): boolean {
  return thrown instanceof WeirError && codeOf(thrown.cause) === 'EADDRINUSE'
}

function listenError(where: string, why: string, cause?: unknown): WeirError {
  return new WeirError('WEIR_ADMIN_LISTEN', `Listen for admin requests on ${where}: ${why}`, { cause })
}

function codeOf(thrown: unknown): unknown {
  return thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
}

function parseAddress(address: string): { readonly host: string; readonly port: number } | undefined {
  const parts = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address)
  if (parts === null) return undefined
  const host = parts[1] ?? parts[2] ?? ''
  const port = Number(parts[3])
  if (port > 65_535 || (parts[1] !== undefined && isIP(host) !== 6)) return undefined
  return { host, port }
}

/** Whether a process accepts connections there. */
async function answers(path: string): Promise<boolean> {
  const socket = connect({ path })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
