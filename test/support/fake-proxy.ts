/**
 * A proxy that speaks the agent's messages and does next to nothing: it answers on every connection with what it
 * knows, and does as the query says. Run by tests of supervision in place of the real one.
 */
import net from 'node:net'
import { parseArgs } from 'node:util'
import type { AgentToProxy, ProxyToAgent } from '#contract'
import { dropPrivileges, heldCapabilities, receiveFds } from '#linux'

const { values } = parseArgs({ options: { uid: { type: 'string' } } })
dropPrivileges(Number(values.uid), Number(values.uid))
const send = (message: ProxyToAgent) => process.send?.(message)
const packets = new Map<number, readonly number[]>()
const received: string[] = []
const sockets: number[] = []
const servers = new Map<string, net.Server[]>()

function take(ticket: number): readonly number[] {
  for (let packet = receiveFds(4); typeof packet === 'object'; packet = receiveFds(4))
    packets.set(packet.ticket, packet.fds)
  return packets.get(ticket) ?? []
}

process.on('message', (message: AgentToProxy) => {
  received.push(message.type)
  if (message.type === 'pod-add') {
    const fds = take(message.ticket)
    servers.set(
      message.uid,
      message.listeners.flatMap((spec, i) =>
        spec.direction === 'dns-udp'
          ? []
          : net.createServer((socket) => socket.end(`${process.pid} ${spec.direction}`)).listen({ fd: fds[i] ?? -1 }),
      ),
    )
    send({ type: 'pod-listening', uid: message.uid })
    send({ type: 'sockets-wanted', id: 1, uid: message.uid, kind: 'transparent', family: 4, count: 3 })
    send({ type: 'sockets-wanted', id: 2, uid: message.uid, kind: 'plain', family: 6, count: 65 })
    send({ type: 'sockets-wanted', id: 3, uid: 'nobody', kind: 'plain', family: 4, count: 1 })
  } else if (message.type === 'sockets') {
    sockets.push(...take(message.ticket))
  } else if (message.type === 'pod-remove') {
    for (const server of servers.get(message.uid) ?? []) server.close()
    send({ type: 'pod-drained', uid: message.uid })
  } else if (message.type === 'drain') {
    end()
  } else if (message.type === 'query') {
    const capabilities = heldCapabilities()
    send({
      type: 'answer',
      id: message.id,
      data: { pid: process.pid, uid: process.getuid?.(), capabilities, received, sockets },
    })
  }
})
process.on('disconnect', end)
send({ type: 'hello', pid: process.pid })

/** Nothing runs any more: the hooks of tap would write a file where a program without privileges may write none. */
function end(): void {
  process.kill(process.pid, 'SIGKILL')
}
