/**
 * The lab's HTTP server: answers every request with what it saw of it, as JSON; echoes WebSocket messages.
 * Query parameters shape the answer: status=N, delayMs=N, bytes=N (that many `x` instead of JSON), chunked=1,
 * trailer=VALUE (trailer `x-echo-trailer`), header=NAME:VALUE (repeatable).
 * Started with one argument: {"port":8080,"name":"web-1","host":"::"}. Prints `listening PORT`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocketServer } from 'ws'

const settings = JSON.parse(process.argv[2] ?? '{}') as { port: number; name: string; host: string }

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const query = new URLSearchParams(request.url?.split('?')[1] ?? '')
  const body = await readBody(request)
  if (query.has('delayMs')) await delay(Number(query.get('delayMs')))
  const text = query.has('bytes')
    ? 'x'.repeat(Number(query.get('bytes')))
    : JSON.stringify({
        name: settings.name,
        method: request.method,
        url: request.url,
        headers: request.headers,
        trailers: request.trailers,
        remoteAddress: request.socket.remoteAddress?.replace('::ffff:', ''),
        body,
      })
  response.statusCode = Number(query.get('status') ?? 200)
  response.setHeader('content-type', query.has('bytes') ? 'text/plain' : 'application/json')
  for (const header of query.getAll('header')) {
    const [name = '', ...value] = header.split(':')
    response.appendHeader(name, value.join(':').trim())
  }
  const trailer = query.get('trailer')
  if (trailer !== null) {
    response.setHeader('trailer', 'x-echo-trailer')
    response.addTrailers({ 'x-echo-trailer': trailer })
  } else if (!query.has('chunked')) {
    response.setHeader('content-length', Buffer.byteLength(text))
  }
  if (trailer !== null || query.has('chunked')) response.write(text.slice(0, text.length / 2))
  response.end(trailer !== null || query.has('chunked') ? text.slice(text.length / 2) : text)
}

const server = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy())
})
new WebSocketServer({ server }).on('connection', (socket) => {
  socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }))
})
server.listen(settings.port, settings.host, () => console.log(`listening ${settings.port}`))
