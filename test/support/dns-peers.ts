/** Both ends of DNS for tests: a name server, and a client whose queries leave from inside a pod. */
import { createSocket, type Socket } from 'node:dgram'
import net from 'node:net'
import codec, { type Answer, type DecodedPacket, type Packet, type RecordType } from 'dns-packet'
import { bindSocket, listenSocket, openTcpSocket, openUdpSocket, setReuseAddress } from '#linux'
import { connectSocketIn, inside } from './pod-sockets.ts'

function udpSocket(fd: number, address: string): Socket {
  const socket = createSocket(net.isIPv6(address) ? 'udp6' : 'udp4')
  socket.bind({ fd })
  return socket
}

/** A message as it is sent over TCP. */
export function frameOf(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}

/** The messages of a stream, until it ends. */
export async function* framesOf(socket: net.Socket): AsyncGenerator<Buffer> {
  let bytes = Buffer.alloc(0)
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
      const end = 2 + bytes.readUInt16BE(0)
      yield bytes.subarray(2, end)
      bytes = bytes.subarray(end)
    }
  }
}

/** The first message of a stream; rejects when it ends before. */
async function readFrame(socket: net.Socket): Promise<Buffer> {
  for await (const frame of framesOf(socket)) return frame
  throw new Error('The connection ended without an answer')
}

export interface Asked {
  readonly name: string
  readonly type: string
  readonly over: 'udp' | 'tcp'
  readonly query: DecodedPacket
  /** Of the client. */
  readonly port: number
}

/** What the server says: records, a code, a whole message made by the test, or nothing. */
export type Says = readonly Answer[] | 'NXDOMAIN' | 'silence' | Buffer

/** A name server on an address of a namespace, port 53, UDP and TCP; every question it gets is in `asked`. */
export class NameServer implements Disposable {
  readonly asked: Asked[] = []
  readonly #say: (asked: Asked) => Says
  readonly #udp: Socket
  readonly #tcp: net.Server
  readonly #connections = new Set<net.Socket>()

  constructor(netnsPath: string, address: string, say: (asked: Asked) => Says) {
    this.#say = say
    const family = net.isIPv6(address) ? 6 : 4
    const bound = <T extends number>(fd: T) => {
      setReuseAddress(fd)
      bindSocket(fd, { address, port: 53 })
      return fd
    }
    this.#udp = udpSocket(
      inside(netnsPath, () => bound(openUdpSocket(family))),
      address,
    )
    this.#udp.on('message', (bytes, from) => {
      const reply = this.#reply(bytes, 'udp', from.port)
      if (reply !== undefined) this.#udp.send(reply, from.port, from.address)
    })
    this.#tcp = net.createServer((socket) => {
      this.#connections.add(socket)
      socket.on('error', () => undefined)
      void readFrame(socket).then(
        (bytes) => {
          const reply = this.#reply(bytes, 'tcp', socket.remotePort ?? 0)
          if (reply !== undefined) socket.write(frameOf(reply))
        },
        () => undefined,
      )
    })
    const listening = inside(netnsPath, () => bound(openTcpSocket(family)))
    listenSocket(listening, 16)
    this.#tcp.listen({ fd: listening })
  }

  #reply(bytes: Buffer, over: 'udp' | 'tcp', port: number): Buffer | undefined {
    const query = codec.decode(bytes)
    const [question] = query.questions ?? []
    const asked = { name: question?.name ?? '', type: question?.type ?? '', over, query, port }
    this.asked.push(asked)
    const said = this.#say(asked)
    if (said === 'silence') return undefined
    if (Buffer.isBuffer(said)) return said
    const head: Packet = { id: query.id ?? 0, type: 'response', questions: query.questions ?? [] }
    if (said === 'NXDOMAIN') return codec.encode({ ...head, flags: codec.RECURSION_AVAILABLE | 3 })
    const whole = codec.encode({ ...head, flags: codec.RECURSION_AVAILABLE, answers: [...(said as readonly Answer[])] })
    if (over === 'tcp' || whole.length <= 512) return whole
    return codec.encode({ ...head, flags: codec.RECURSION_AVAILABLE | codec.TRUNCATED_RESPONSE })
  }

  [Symbol.dispose](): void {
    this.#udp.close()
    this.#tcp.close()
    for (const socket of this.#connections) socket.destroy()
  }
}

export interface AskOptions {
  readonly over?: 'udp' | 'tcp'
  /** Payload size of an OPT record. */
  readonly edns?: number
  /** Name server; one that does not exist, by default. */
  readonly server?: string
}

export interface Told {
  readonly rcode: string
  readonly truncated: boolean
  /** `A 10.0.0.1`, `SRV web.shop 80`, sorted. */
  readonly answers: readonly string[]
  readonly packet: DecodedPacket
  readonly bytes: Buffer
}

const NO_SERVER = '10.96.250.250'

/** One query from inside a pod. */
export async function askFrom(
  pod: { readonly netnsPath: string },
  name: string,
  type: RecordType = 'A',
  options: AskOptions = {},
): Promise<Told> {
  const query = codec.encode({
    id: 1 + Math.floor(Math.random() * 65_000),
    type: 'query',
    flags: codec.RECURSION_DESIRED,
    questions: [{ name, type, class: 'IN' }],
    additionals:
      options.edns === undefined
        ? []
        : // The type asks for what the codec fills in.
          [{ type: 'OPT', name: '.', udpPayloadSize: options.edns, flags: 0, options: [] } as unknown as Answer],
  })
  return tell(await exchange(pod, query, options))
}

/** Sends bytes as they are and waits for an answer. */
export async function exchange(
  pod: { readonly netnsPath: string },
  query: Buffer,
  { over = 'udp', server = NO_SERVER }: AskOptions = {},
): Promise<Buffer> {
  if (over === 'tcp') {
    const socket = await connectSocketIn(pod.netnsPath, server, 53)
    socket.write(frameOf(query))
    const reply = await readFrame(socket)
    socket.destroy()
    return reply
  }
  const socket = udpSocket(
    inside(pod.netnsPath, () => {
      const fd = openUdpSocket(net.isIPv6(server) ? 6 : 4)
      bindSocket(fd, { address: net.isIPv6(server) ? '::' : '0.0.0.0', port: 0 })
      return fd
    }),
    server,
  )
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const late = setTimeout(() => reject(new Error('No answer')), 20_000)
  socket.on('message', resolve).on('error', reject)
  socket.connect(53, server, () => socket.send(query))
  try {
    return await promise
  } finally {
    clearTimeout(late)
    socket.close()
  }
}

export function tell(bytes: Buffer): Told {
  const packet = codec.decode(bytes)
  const answers = (packet.answers ?? []).map((answer) => {
    if (answer.type === 'SRV') return `SRV ${answer.data.target} ${answer.data.port}`
    return 'data' in answer ? `${answer.type} ${String(answer.data)}` : answer.type
  })
  const { rcode = '' } = packet as { rcode?: string }
  return { rcode, truncated: packet.flag_tc === true, answers: answers.sort(), packet, bytes }
}
