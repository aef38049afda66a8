/** Answers another node that asks, through a tunnel, whether the application takes a connection. */
import type { ByteStream } from '#http'
import type { Pipeline } from '../pipeline.ts'
import { NOBODY } from '../tcp.ts'
import { CONNECT_DENIED } from './tcp-probe.ts'

/** The stream ends in order if it does, and is reset if not. Judged as any connection. */
export function answerConnectCheck(pipeline: Pipeline, stream: ByteStream): void {
  stream.owner = NOBODY
  stream.resume()
  const choice = pipeline.chooseTcp()
  if (choice.kind !== 'forward') {
    if (choice.flag === 'RBAC') {
      stream.writeText(CONNECT_DENIED)
      stream.end()
    } else stream.reset()
    return
  }
  choice.pool.dialer.dial((_status, server) => {
    server?.close()
    if (server === undefined) stream.reset()
    else stream.end()
  })
}
