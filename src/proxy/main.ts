/**
 * The proxy process. Loads its code, gives up every privilege, then takes settings, world, listeners and
 * sockets from the agent over two channels: IPC for messages, a SOCK_SEQPACKET pair for descriptors.
 */
import { closeSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { parseArgs } from 'node:util'
import type { AgentToProxy, LookAnswer, MetricsAnswer, ProxyQuery, ProxyStatusAnswer, ProxyToAgent } from '#contract'
import { dropPrivileges, receiveFds } from '#linux'
import { Engine } from './engine.ts'

/** Where the agent puts our end of the descriptor channel. */
const FD_CHANNEL = 4

const { values } = parseArgs({ options: { uid: { type: 'string' }, gid: { type: 'string' } } })
// The compile cache is root's: what was compiled now is kept before it cannot be written any more.
flushCompileCache()
dropPrivileges(Number(values.uid ?? 1337), Number(values.gid ?? values.uid ?? 1337))

function send(message: ProxyToAgent): void {
  if (process.connected) process.send?.(message)
}

let engine: Engine | undefined
/** Packets read ahead of the message that names them. */
const packets = new Map<number, readonly number[]>()

function takeFds(ticket: number): readonly number[] {
  for (;;) {
    const fds = packets.get(ticket)
    if (fds !== undefined) {
      packets.delete(ticket)
      return fds
    }
    const packet = receiveFds(FD_CHANNEL)
    if (packet === 'empty' || packet === 'closed') return []
    packets.set(packet.ticket, packet.fds)
  }
}

function requireEngine(): Engine {
  if (engine === undefined) throw new Error('A message came before the settings')
  return engine
}

function handle(message: AgentToProxy): void {
  switch (message.type) {
    case 'settings':
      engine = new Engine(
        message.settings,
        (id, uid, kind, family, count) => send({ type: 'sockets-wanted', id, uid, kind, family, count }),
        (count, batch, done) => {
          const spans: ProxyToAgent = { type: 'spans', count, batch }
          if (process.connected) process.send?.(spans, undefined, undefined, done)
        },
      )
      engine.onDrained = (uid) => send({ type: 'pod-drained', uid })
      engine.onShedding = (shedding, lagMs, shedRequests) => send({ type: 'shedding', shedding, lagMs, shedRequests })
      engine.onTapped = (id, events, lost, sent) => {
        if (process.connected) process.send?.({ type: 'tapped', id, events, lost }, undefined, undefined, sent)
      }
      engine.onHealth = (healthy, endpoint) => send({ type: 'endpoint-health', healthy, endpoint })
      break
    case 'world':
      requireEngine().applyWorld(message)
      send({ type: 'world-applied', version: message.version })
      break
    case 'identity':
      requireEngine().setIdentity(message.material)
      break
    case 'identity-forget':
      requireEngine().forgetIdentity(message.identity)
      break
    case 'pod-add': {
      const fds = takeFds(message.ticket)
      // Started again, with room for descriptors, it serves the pod; going on it would not.
      if (fds.length !== message.listeners.length) throw new Error('No descriptors left for the listeners of a pod')
      requireEngine().addPod(message.uid, message.workload, message.listeners, fds)
      send({ type: 'pod-listening', uid: message.uid })
      break
    }
    case 'pod-remove':
      requireEngine().removePod(message.uid, message.mode)
      break
    case 'sockets':
      requireEngine().socketsArrived(message.id, takeFds(message.ticket), 'no file descriptor is left in the proxy')
      break
    case 'sockets-refused':
      requireEngine().socketsArrived(message.id, [], message.error)
      break
    case 'drain':
      void drain(message.graceMs)
      break
    case 'tap':
      requireEngine().openTap(message.id, message.spec)
      break
    case 'tap-end':
      requireEngine().closeTap(message.id)
      break
    case 'query':
      send({
        type: 'answer',
        id: message.id,
        data: answerTo(message.what, requireEngine()),
      })
      break
    default:
      message satisfies never
  }
}

function answerTo(query: ProxyQuery, of: Engine): MetricsAnswer | ProxyStatusAnswer | LookAnswer {
  if (query.kind === 'look') return of.lookAnswer(query.only)
  return query.kind === 'status' ? of.statusAnswer() : of.metricsAnswer()
}

async function drain(graceMs: number): Promise<void> {
  await engine?.drain(graceMs)
  await engine?.close()
  send({ type: 'drained' })
  process.disconnect?.()
  closeSync(FD_CHANNEL)
  process.exit(0)
}

process.on('message', handle)
// Without an agent there are no sockets and no policy changes: serving on would fail open.
process.on('disconnect', () => process.exit(0))
// The agent decides when a proxy ends: a terminal's Ctrl-C reaches both.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
send({ type: 'hello', pid: process.pid })
