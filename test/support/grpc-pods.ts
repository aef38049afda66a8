/** gRPC inside the namespaces of pods, in the process of the test: `@grpc/grpc-js` at both ends. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import grpc from '@grpc/grpc-js'
import { connectSocketIn, listenSocketIn } from './pod-sockets.ts'

const bytes = { serialize: (value: Buffer) => value, deserialize: (value: Buffer) => value }
/** A method whose messages are plain bytes. */
export const bytesMethod = (path: string, requestStream = false, responseStream = false) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: bytes.serialize,
  requestDeserialize: bytes.deserialize,
  responseSerialize: bytes.serialize,
  responseDeserialize: bytes.deserialize,
})

/** A service whose messages are plain bytes. */
export const ECHO = {
  Unary: bytesMethod('/echo.Echo/Unary'),
  Up: bytesMethod('/echo.Echo/Up', true, false),
  Down: bytesMethod('/echo.Echo/Down', false, true),
  Both: bytesMethod('/echo.Echo/Both', true, true),
} as const satisfies grpc.ServiceDefinition

/** A server in a pod; connections are made in its namespace and handed to it. */
export async function grpcServerIn(
  netnsPath: string,
  port: number,
  implementation: grpc.UntypedServiceImplementation,
  service: grpc.ServiceDefinition = ECHO,
): Promise<AsyncDisposable> {
  const server = new grpc.Server()
  server.addService(service, implementation)
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure())
  const sockets = new Set<net.Socket>()
  const listener = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    injector.injectConnection(socket)
  })
  listener.listen({ fd: listenSocketIn(netnsPath, port) })
  await once(listener, 'listening')
  return {
    [Symbol.asyncDispose]: async () => {
      injector.destroy()
      server.forceShutdown()
      for (const socket of sockets) socket.destroy()
      listener.close()
    },
  }
}

/** A client in a pod. It dials a socket of the file system, behind which are connections made in the namespace. */
export class GrpcPodClient implements AsyncDisposable {
  readonly client: grpc.Client
  readonly #listener: net.Server
  readonly #dir: string
  readonly #sockets = new Set<net.Socket>()

  constructor(netnsPath: string, address: string, port: number) {
    this.#dir = mkdtempSync(join(tmpdir(), 'weir-grpc-'))
    const path = join(this.#dir, 'socket')
    this.#listener = net.createServer((near) => void this.#join(near, netnsPath, address, port))
    this.#listener.listen(path)
    this.client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure(), {
      'grpc.default_authority': `echo:${port}`,
      'grpc.enable_retries': 0,
    })
  }

  async #join(near: net.Socket, netnsPath: string, address: string, port: number): Promise<void> {
    near.on('error', () => {})
    const far = await connectSocketIn(netnsPath, address, port)
    far.on('error', () => {})
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one)
      one.pipe(other)
      one.on('close', () => other.destroy())
    }
  }

  /** The answer's bytes; fails with the status. */
  unary(message: string, metadata = new grpc.Metadata(), options: grpc.CallOptions = {}): Promise<GrpcAnswer> {
    return new Promise((resolve, reject) => {
      const answer = { body: '', trailers: new grpc.Metadata() }
      const { path, requestSerialize, responseDeserialize } = ECHO.Unary
      const done = (error: grpc.ServiceError | null, value?: Buffer): void => {
        if (error !== null) reject(error)
        else answer.body = String(value)
      }
      this.client
        .makeUnaryRequest(path, requestSerialize, responseDeserialize, Buffer.from(message), metadata, options, done)
        .on('status', ({ code, metadata: trailers }) => {
          if (code === grpc.status.OK) resolve({ ...answer, trailers })
        })
    })
  }

  both(options: grpc.CallOptions = {}): grpc.ClientDuplexStream<Buffer, Buffer> {
    const { path, requestSerialize, responseDeserialize } = ECHO.Both
    const call = this.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, options)
    call.on('error', () => {})
    return call
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close()
    for (const socket of this.#sockets) socket.destroy()
    this.#listener.close()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

export interface GrpcAnswer {
  readonly body: string
  readonly trailers: grpc.Metadata
}
