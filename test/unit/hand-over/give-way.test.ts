import t from 'tap'
import { areCertified } from '../../../agent/hand-over/await-certificates.ts'
import { giveWayTo } from '../../../agent/hand-over/give-way.ts'

/** An agent and its successor, of whom is noted what they do, in order. */
function scene(successor: { readonly receives: boolean; readonly takes: boolean; readonly died?: boolean }) {
  const did: string[] = []
  const note = <T>(what: string, outcome: T): T => {
    did.push(what)
    return outcome
  }
  const agent = {
    enroller: {
      stopRedirecting: (keepRules: boolean) => Promise.resolve(note(`stop, rules kept: ${keepRules}`, undefined)),
      handOver: () => [],
    },
    cni: { giveWay: () => Promise.resolve(note('no plugin answered', undefined)) },
    admin: { [Symbol.asyncDispose]: () => Promise.resolve(note('admin closed', undefined)) },
    door: { shut: () => note('door shut', undefined) },
    stateDir: {
      release: () => note('lock released', undefined),
      tryTake: () => note('lock tried', successor.died === true),
    },
    log: { info: () => undefined, warn: () => undefined },
  }
  const next = {
    giveSockets: () => Promise.resolve(note('sockets given', successor.receives)),
    giveWay: () => Promise.resolve(note('told', successor.takes)),
  }
  return { did, run: () => giveWayTo(next, agent) }
}

const UNTIL_SOCKETS = ['no plugin answered', 'stop, rules kept: true', 'sockets given']
const UNTIL_TOLD = [...UNTIL_SOCKETS, 'door shut', 'admin closed', 'lock released', 'told']

t.test('sockets first, the lock last, then the successor is told', async (t) => {
  const { did, run } = scene({ receives: true, takes: true })
  t.equal(await run(), true)
  t.same(did, UNTIL_TOLD)
})

t.test('to a successor that does not take the sockets nothing else is given', async (t) => {
  const { did, run } = scene({ receives: false, takes: true })
  t.equal(await run(), false)
  t.same(did, UNTIL_SOCKETS)
})

t.test('after one that died with the sockets the pods are this agent again, unless another has the lock', async (t) => {
  const dead = scene({ receives: true, takes: false, died: true })
  t.equal(await dead.run(), false)
  t.same(dead.did, [...UNTIL_TOLD, 'lock tried'])
  const slow = scene({ receives: true, takes: false })
  t.equal(await slow.run(), true)
})

t.test('certificates are there when all are, or when others were refused', (t) => {
  const has = { serial: '01', failures: 0 }
  const waits = { serial: '', failures: 0 }
  const refused = { serial: '', failures: 1 }
  t.equal(areCertified([]), true)
  t.equal(areCertified([has, has]), true)
  t.equal(areCertified([has, waits]), false)
  t.equal(areCertified([has, refused]), true)
  t.equal(areCertified([has, refused, waits]), false)
  t.equal(areCertified([refused, refused]), false, 'the CA is away')
  t.end()
})
