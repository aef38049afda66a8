import t from 'tap'
import { LeavingPods } from '../../../agent/supervise/leaving-pods.ts'

/** Of what was waited for, what has ended by now. */
function noted() {
  const ended: string[] = []
  const note = (name: string, waited: Promise<void>) => void waited.then(() => ended.push(name))
  return { note, ended: () => new Promise<readonly string[]>((resolve) => setImmediate(() => resolve([...ended]))) }
}

t.test('a pod has left when the last proxy has let go of it, or has ended', async (t) => {
  const leaving = new LeavingPods()
  const { note, ended } = noted()
  note('a', leaving.wait('a', [0, 1]))
  note('b', leaving.wait('b', [1, 2]))
  note('none', leaving.wait('none', []))
  leaving.letGo('a', 0)
  leaving.letGo('unknown', 0)
  t.same(await ended(), ['none'])
  t.ok(leaving.has('a'))
  leaving.letGoOfAll(1)
  t.same(await ended(), ['none', 'a'])
  t.notOk(leaving.has('a'))
  leaving.letGo('b', 2)
  t.same(await ended(), ['none', 'a', 'b'])
})

t.test('who waits for a pod that comes back, or is told to leave again, waits no longer', async (t) => {
  const leaving = new LeavingPods()
  const { note, ended } = noted()
  note('first', leaving.wait('a', [0]))
  note('again', leaving.wait('a', [0, 1]))
  t.same(await ended(), ['first'])
  leaving.letGo('a', 0)
  t.same(await ended(), ['first'])
  leaving.cameBack('a')
  t.same(await ended(), ['first', 'again'])
  leaving.letGo('a', 1)
  t.notOk(leaving.has('a'))
})
