import { EventEmitter } from 'node:events'
import type { FSWatcher, watch } from 'node:fs'
import t from 'tap'
import { ChangeHints } from '../../../src/logs/change-hints.ts'

/** An inotify with room for so many folders. */
function inotify(room: { left: number }) {
  const changes = new Map<string, () => void>()
  const watchFolder = ((folder: string, _: object, onChange: () => void) => {
    if (room.left === 0) throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
    room.left--
    changes.set(folder, onChange)
    const close = () => {
      room.left++
      changes.delete(folder)
    }
    return Object.assign(new EventEmitter(), { close }) as unknown as FSWatcher
  }) as unknown as typeof watch
  return { changes, watchFolder }
}

t.test('folders for which the kernel has no room are looked at, and asked for again later', async (t) => {
  const room = { left: 2 }
  const clock = { now: 0 }
  const { watchFolder } = inotify(room)
  const hints = new ChangeHints(
    () => {},
    () => clock.now,
    watchFolder,
  )
  const folders = ['a', 'b', 'c']
  const covered = () => folders.filter((folder) => hints.covers(folder))
  hints.set(folders)
  t.same(covered(), ['a', 'b'])
  room.left = 5
  hints.set(folders)
  t.same(covered(), ['a', 'b'], 'not at once')
  clock.now = 60_000
  hints.set(folders)
  t.same(covered(), folders)
  hints.set(['b'])
  t.same(covered(), ['b'])
  t.equal(room.left, 6, 'watches are given back')
  hints[Symbol.dispose]()
  t.equal(room.left, 7)
})

t.test('a folder that tells much is looked at for a while instead', async (t) => {
  const clock = { now: 0 }
  const { changes, watchFolder } = inotify({ left: 2 })
  const told: string[] = []
  const hints = new ChangeHints(
    (folder) => told.push(folder),
    () => clock.now,
    watchFolder,
  )
  hints.set(['loud', 'quiet'])
  for (let n = 0; n < 1000; n++) changes.get('loud')?.()
  changes.get('quiet')?.()
  t.ok(told.length < 30, `${told.length} were passed on`)
  t.ok(told.includes('quiet'))
  hints.roundEnded()
  t.same([hints.covers('loud'), hints.covers('quiet')], [false, true])
  hints.set(['loud', 'quiet'])
  t.equal(hints.covers('loud'), false)
  clock.now = 5_000
  hints.set(['loud', 'quiet'])
  t.equal(hints.covers('loud'), true)
})
