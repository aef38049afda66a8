/** An HTTP server on port 8080 of a pod that fails on demand; it is in the process of the test. */
import http from 'node:http'
import { listenSocketIn } from './pod-sockets.ts'

/** Counts the requests it got, and answers each as it is told to. */
export class FailingServer {
  readonly name: string
  readonly bodies: string[] = []
  answer: (request: http.IncomingMessage, response: http.ServerResponse) => void
  readonly #server: http.Server

  constructor(t: { teardown(end: () => void): void }, pod: { readonly name: string; readonly netnsPath: string }) {
    this.name = pod.name
    this.answer = this.ok
    this.#server = http.createServer((request, response) => {
      let body = ''
      request.on('data', (text: Buffer) => {
        body += text.toString('latin1')
      })
      request.on('error', () => {})
      request.on('end', () => {
        this.bodies.push(`${request.method} ${request.url} ${body.length}`)
        this.answer(request, response)
      })
    })
    this.#server.on('connection', (socket) => socket.on('error', () => {}))
    this.#server.keepAliveTimeout = 60_000
    this.#server.listen({ fd: listenSocketIn(pod.netnsPath, 8080) })
    t.teardown(() => {
      this.#server.close()
      this.#server.closeAllConnections()
    })
  }

  /** As if it had not been asked anything yet, and well. */
  reset(): void {
    this.bodies.length = 0
    this.answer = this.ok
  }

  readonly ok = (_request: http.IncomingMessage, response: http.ServerResponse): void => {
    response.setHeader('x-by', this.name)
    response.end(this.name)
  }

  readonly fail = (status: number) => (_request: http.IncomingMessage, response: http.ServerResponse) => {
    response.statusCode = status
    response.setHeader('x-by', this.name)
    response.end('failed')
  }
}
