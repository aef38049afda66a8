/**
 * TCP streams of the data path, straight on libuv's handles: one write is one system call, reads land
 * in one buffer shared by all streams, and nothing is allocated per read or write. `net.Socket` costs
 * about as much per request as everything Weir does with it (docs/decisions/0002-tcp-handles.md), so
 * this one file uses what `net.Socket` itself is made of. The bias: a closed stream is silent.
 */
import { Socket, type SocketConstructorOpts } from 'node:net'
import type { ByteStream, StreamOwner } from '#http'
import { holdForFin, isBroken, sendFin } from '#linux'

interface WriteRequest {
  oncomplete: ((status: number) => void) | null
  stream: TcpStream | null
  /** Keeps an asynchronous write's bytes alive. */
  bytes: Buffer | null
  /** Those bytes go back to `lendable`. */
  lent?: boolean
}
interface ShutdownRequest {
  oncomplete: ((status: number) => void) | null
  stream: TcpStream | null
}
interface TcpHandle {
  readonly fd: number
  onread: () => void
  onconnection: ((status: number, handle: TcpHandle | undefined) => void) | null
  stream: TcpStream | null
  open(fd: number): number
  listen(backlog: number): number
  bind(address: string, port: number): number
  bind6(address: string, port: number, flags: number): number
  connect(request: object, address: string, port: number): number
  connect6(request: object, address: string, port: number): number
  readStart(): number
  readStop(): number
  useUserBuffer(buffer: Uint8Array): void
  writeLatin1String(request: WriteRequest, text: string): number
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number
  shutdown(request: object): number
  close(callback?: () => void): void
  reset(callback?: () => void): number
  setNoDelay(on: boolean): number
  setKeepAlive(on: boolean, seconds: number): number
  getpeername(out: Record<string, unknown>): number
  getsockname(out: Record<string, unknown>): number
}
interface Bindings {
  readonly tcp_wrap: {
    readonly TCP: new (type: number) => TcpHandle
    readonly TCPConnectWrap: new () => { oncomplete: ((status: number) => void) | null }
    readonly constants: { readonly SOCKET: number; readonly SERVER: number }
  }
  readonly stream_wrap: {
    readonly WriteWrap: new () => WriteRequest
    readonly ShutdownWrap: new () => ShutdownRequest
    readonly kReadBytesOrError: number
    readonly kLastWriteWasAsync: number
    readonly streamBaseState: Int32Array
  }
}

const binding = (process as unknown as { binding<K extends keyof Bindings>(name: K): Bindings[K] }).binding
const { TCP, TCPConnectWrap, constants } = binding.call(process, 'tcp_wrap') as Bindings['tcp_wrap']
const { WriteWrap, ShutdownWrap, kReadBytesOrError, kLastWriteWasAsync, streamBaseState } = binding.call(
  process,
  'stream_wrap',
) as Bindings['stream_wrap']

const UV_EOF = -4095
const UV_ECONNRESET = -104
const UV_ECANCELED = -125
const READ_BUFFER_BYTES = 65536
/** Where every read of every stream lands; read synchronously by `onData`, then reused. */
const readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)

/** Buffers for writes of what must not be kept; lent out for as long as the kernel takes. */
const LENT_BYTES = READ_BUFFER_BYTES
const MAX_LENDABLE = 16
const lendable: Buffer[] = []

function giveBack(bytes: Buffer): void {
  if (lendable.length < MAX_LENDABLE) lendable.push(bytes)
}

function onRead(this: TcpHandle): void {
  const stream = this.stream
  if (stream === null || stream.closed) return
  const read = streamBaseState[kReadBytesOrError] as number
  if (read > 0) {
    stream.owner.onData(readBuffer, read)
    return
  }
  if (read === 0) return
  if (read === UV_EOF) {
    stream.readEnded = true
    stream.owner.onEnd()
    if (stream.writeDone) stream.close()
  } else stream.fail(read)
}

function onWritten(this: WriteRequest, status: number): void {
  const stream = this.stream
  if (this.lent === true && this.bytes !== null) giveBack(this.bytes)
  this.bytes = null
  if (stream === null) return
  stream.pendingWrites--
  if (stream.closed) return
  if (status < 0) stream.fail(status)
  else if (stream.pendingWrites === 0) stream.drained()
}

function onShutdown(this: ShutdownRequest, status: number): void {
  const stream = this.stream
  if (stream === null || stream.closed) return
  stream.writeDone = true
  // Once both FINs have passed, libuv's own shutdown finds no connection.
  if (status < 0 && !stream.finSent) stream.fail(status)
  else if (stream.readEnded) stream.close()
}

/** Owner of a stream that nobody listens to: yet, or any more. */
export const NOBODY: StreamOwner = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} }

/** A request object is consumed only by a write that could not finish at once. */
let spareWrite = new WriteWrap()
spareWrite.oncomplete = onWritten

export class TcpStream implements ByteStream {
  owner: StreamOwner
  closed = false
  readEnded = false
  writeEnded = false
  /** Our FIN went out within `end`. */
  finSent = false
  /** Our FIN, and everything before it, is with the kernel. */
  writeDone = false
  /** Writes not yet taken by the kernel. */
  pendingWrites = 0
  reading = false
  readonly #handle: TcpHandle

  constructor(handle: object, owner: StreamOwner) {
    this.#handle = handle as TcpHandle
    this.owner = owner
    this.#handle.stream = this
    this.#handle.onread = onRead
    this.#handle.setNoDelay(true)
    this.#handle.useUserBuffer(readBuffer)
  }

  get fd(): number {
    return this.#handle.fd
  }

  /** Peer address in canonical text (IPv4-mapped IPv6 unwrapped). */
  peer(): { address: string; port: number } {
    return peerOf(this.#handle)
  }

  resume(): void {
    if (this.reading || this.closed || this.readEnded) return
    this.reading = true
    const error = this.#handle.readStart()
    if (error !== 0) this.fail(error)
  }

  pause(): void {
    if (!this.reading || this.closed) return
    this.reading = false
    this.#handle.readStop()
  }

  writeText(text: string): boolean {
    if (this.closed || this.writeEnded) return true
    const request = spareWrite
    const error = this.#handle.writeLatin1String(request, text)
    return this.#written(request, error, null)
  }

  writeBytes(bytes: Buffer): boolean {
    if (this.closed || this.writeEnded) return true
    const request = spareWrite
    const error = this.#handle.writeBuffer(request, bytes)
    return this.#written(request, error, bytes)
  }

  writeSlice(bytes: Buffer, start: number, end: number): boolean {
    if (this.closed || this.writeEnded) return true
    const length = end - start
    if (length > LENT_BYTES) return this.writeBytes(Buffer.from(bytes.subarray(start, end)))
    // Copied into a buffer that is lent for the write: a new one each time would keep the garbage collector busy.
    const lent = lendable.pop() ?? Buffer.allocUnsafeSlow(LENT_BYTES)
    bytes.copy(lent, 0, start, end)
    const request = spareWrite
    const error = this.#handle.writeBuffer(request, lent.subarray(0, length))
    const atOnce = error !== 0 || streamBaseState[kLastWriteWasAsync] === 0
    const taken = this.#written(request, error, lent)
    if (atOnce) giveBack(lent)
    else request.lent = true
    return taken
  }

  #written(request: WriteRequest, error: number, bytes: Buffer | null): boolean {
    if (error !== 0) {
      this.fail(error)
      return true
    }
    if (streamBaseState[kLastWriteWasAsync] === 0) return this.pendingWrites === 0
    request.stream = this
    request.bytes = bytes
    this.pendingWrites++
    spareWrite = new WriteWrap()
    spareWrite.oncomplete = onWritten
    return false
  }

  drained(): void {
    this.owner.onDrain()
  }

  checkPaused(): void {
    if (!this.reading && !this.closed && !this.readEnded && isBroken(this.#handle.fd)) this.fail(UV_ECONNRESET)
  }

  holdForEnd(): void {
    if (!this.closed && !this.writeEnded) holdForFin(this.#handle.fd)
  }

  end(): void {
    if (this.closed || this.writeEnded) return
    this.writeEnded = true
    // Now, not a turn later: a client that sees the end with the answer does not close first and keep TIME_WAIT.
    this.finSent = this.pendingWrites === 0 && sendFin(this.#handle.fd)
    const request = new ShutdownWrap()
    request.stream = this
    request.oncomplete = onShutdown
    const error = this.#handle.shutdown(request)
    if (error !== 0) this.fail(error)
  }

  close(): void {
    this.#close(0, false)
  }

  reset(): void {
    this.#close(0, true)
  }

  fail(status: number): void {
    this.#close(status, false)
  }

  #close(status: number, reset: boolean): void {
    if (this.closed) return
    this.closed = true
    this.reading = false
    this.#handle.stream = null
    // Resetting is not possible while a shutdown is under way.
    if (!reset || this.writeEnded || this.#handle.reset() !== 0) this.#handle.close()
    this.owner.onClose(status)
  }
}

/** For what only `net.Socket` can do: TLS. The handle is the socket's from then on. */
export function toSocket(handle: object): Socket {
  // Without this a small record waits for the acknowledgement of the one before it.
  ;(handle as TcpHandle).setNoDelay(true)
  // `handle` is how Node itself makes the sockets that its servers accept.
  return new Socket({ handle } as unknown as SocketConstructorOpts)
}

/** Where an accepted connection comes from: as `TcpStream.peer`, of a handle that no stream has yet. */
export function peerAddress(handle: object): string {
  return peerOf(handle as TcpHandle).address
}

function peerOf(handle: TcpHandle): { address: string; port: number } {
  const out: Record<string, unknown> = {}
  handle.getpeername(out)
  const address = String(out['address'] ?? '')
  return {
    address: address.startsWith('::ffff:') ? address.slice(7) : address,
    port: Number(out['port'] ?? 0),
  }
}

/** A listening socket made by the broker, served here. */
export class TcpListener {
  readonly #handle: TcpHandle

  constructor(fd: number, backlog: number, accept: (handle: object) => void) {
    this.#handle = new TCP(constants.SERVER)
    const opened = this.#handle.open(fd)
    if (opened !== 0) throw new Error(`Cannot open listening socket: error ${opened}`)
    this.#handle.onconnection = (status, handle) => {
      if (status === 0 && handle !== undefined) accept(handle)
    }
    const listening = this.#handle.listen(backlog)
    if (listening !== 0) throw new Error(`Cannot listen: error ${listening}`)
  }

  close(): void {
    this.#handle.close()
  }
}

/**
 * Connects a socket made by the broker. `localAddress` binds it first (transparent sockets).
 * `done` gets 0 or a negative libuv error, never synchronously on success.
 * @returns gives the attempt up: the socket is closed and `done` gets UV_ECANCELED, unless it was told already
 */
export function connectTcp(
  fd: number,
  target: { readonly address: string; readonly port: number; readonly localAddress: string | undefined },
  done: (status: number, handle: object | undefined) => void,
): () => void {
  const handle = new TCP(constants.SOCKET)
  const six = target.address.includes(':')
  let error = fd >= 0 ? handle.open(fd) : 0
  if (error === 0 && target.localAddress !== undefined) {
    error = six ? handle.bind6(target.localAddress, 0, 0) : handle.bind(target.localAddress, 0)
  }
  const request = new TCPConnectWrap()
  let told = false
  const tell = (status: number, connected: object | undefined): void => {
    if (told) return
    told = true
    if (connected === undefined) handle.close()
    done(status, connected)
  }
  request.oncomplete = (status: number) => tell(status, status < 0 ? undefined : handle)
  if (error === 0) {
    error = six
      ? handle.connect6(request, target.address, target.port)
      : handle.connect(request, target.address, target.port)
  }
  if (error !== 0) queueMicrotask(() => tell(error, undefined))
  return () => tell(UV_ECANCELED, undefined)
}
