/**
 * Reads a TLS connection into one buffer that all share, as src/proxy/tcp.ts does for TCP and for the same reason (decision
 * 0002): a `net.Socket` makes a buffer per read, which costs more than to decrypt it.
 */
import type { TLSSocket } from 'node:tls'

interface TlsHandle {
  onread: () => void
  useUserBuffer(buffer: Uint8Array): void
  readStart(): number
}
interface StreamBinding {
  readonly kReadBytesOrError: number
  readonly streamBaseState: Int32Array
}

const { binding } = process as unknown as { binding(this: NodeJS.Process, name: 'stream_wrap'): StreamBinding }
const { kReadBytesOrError, streamBaseState } = binding.call(process, 'stream_wrap')
const readBuffer = Buffer.allocUnsafeSlow(65_536)

/**
 * From now on the socket emits no data. `onData` gets what arrives: `bytes[0..length)` is valid only during the call.
 * `onEnd` is told once, of the end or of an error (a negative libuv status).
 */
export function readTls(
  socket: TLSSocket,
  onData: (bytes: Buffer, length: number) => void,
  onEnd: (status: number) => void,
): void {
  // What came with the handshake was read already.
  for (let early = socket.read() as Buffer | null; early !== null; early = socket.read() as Buffer | null) {
    onData(early, early.length)
  }
  const { _handle: handle } = socket as unknown as { readonly _handle: TlsHandle | null }
  if (handle === null || socket.destroyed) {
    onEnd(0)
    return
  }
  handle.useUserBuffer(readBuffer)
  handle.onread = () => {
    const read = streamBaseState[kReadBytesOrError] as number
    if (read > 0) onData(readBuffer, read)
    else if (read < 0) onEnd(read)
  }
  handle.readStart()
}
