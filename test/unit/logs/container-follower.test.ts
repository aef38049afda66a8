/** One container's files: what becomes of them, and what is told. */
import { renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ContainerFollower, createReadBuffer, type FollowerState } from '../../../src/logs/container-follower.ts'
import { JoinBudget } from '../../../src/logs/line-decoder.ts'
import { TORN_MARK } from '../../../src/logs/log-line.ts'
import { LogWriter, nextTime } from '../../support/log-writer.ts'

const buffer = createReadBuffer()

/** Files are as old as it takes to be done. */
function follow(t: Test, writer: LogWriter, state?: FollowerState) {
  const follower = new ContainerFollower({
    place: { folder: writer.folder, only: undefined },
    format: 'cri',
    budget: new JoinBudget(1 << 20),
    state,
    now: () => Date.now() + 60_000,
  })
  t.teardown(() => follower[Symbol.dispose]())
  const read = async () => {
    const messages: string[] = []
    while (await follower.read(buffer, ({ message }) => messages.push(message)));
    return messages
  }
  /** As another process would go on. */
  const again = () => follow(t, writer, JSON.parse(JSON.stringify(follower.state())))
  return { follower, read, again }
}
const writerIn = (t: Test) => new LogWriter(t.testdir({}), 'shop_web_uid')

t.test('a file that comes later, is renamed, compressed and removed while it is held', async (t) => {
  const writer = writerIn(t)
  const { read } = follow(t, writer)
  t.same(await read(), [])
  writer.write(['1'])
  t.same(await read(), ['1'])
  writer.write(['2'])
  writer.rotate()
  writer.write(['3'])
  writer.rotate()
  writer.write(['4'])
  writer.rotate()
  rmSync(`${writer.file}.20261121-000001.gz`)
  t.same(await read(), ['2', '3', '4'])
  t.same(await read(), [])
})

t.test('another process goes on in the middle of a file that was compressed meanwhile', async (t) => {
  const writer = writerIn(t)
  writer.write(['1', '2'])
  const first = follow(t, writer)
  t.same(await first.read(), ['1', '2'])
  writer.write(['3'])
  writer.rotate()
  writer.rotate()
  writer.write(['4'])
  const second = first.again()
  t.same(await second.read(), ['3', '4'])
  t.equal(second.follower.missed, 0)
})

t.test('what was removed before it was read is counted, and the next is read', async (t) => {
  const writer = writerIn(t)
  writer.write(['1'])
  const first = follow(t, writer)
  t.same(await first.read(), ['1'])
  writer.write(['lost'])
  writer.rotate()
  rmSync(`${writer.file}.20261121-000001`)
  writer.write(['2'])
  const second = first.again()
  t.same(await second.read(), ['2'])
  t.equal(second.follower.missed, 1)
})

t.test('truncated with a copy nothing is lost, without one it is counted', async (t) => {
  const writer = writerIn(t)
  const { follower, read } = follow(t, writer)
  writer.write(['1'])
  t.same(await read(), ['1'])
  writer.write(['2', '3'])
  writer.copyTruncate()
  t.same(await read(), ['2', '3'])
  writer.write(['4'])
  t.same(await read(), ['4'])
  t.equal(follower.missed, 0)
  truncateSync(writer.file, 0)
  // Longer than before: only its beginning tells.
  writer.write(['5', '6'])
  t.same(await read(), ['5', '6'])
  t.equal(follower.missed, 1)
})

t.test('a line whose parts are in two files is whole; one whose container ended is told as torn', async (t) => {
  const writer = writerIn(t)
  const { read } = follow(t, writer)
  writer.writeRaw(`${nextTime()} stdout P one \n`)
  t.same(await read(), [])
  writer.rotate()
  writer.writeRaw(`${nextTime()} stdout F two\n${nextTime()} stdout P begun\n`)
  t.same(await read(), ['one two'])
  writeFileSync(join(writer.folder, '1.log'), `${nextTime()} stdout F started again\n`)
  t.same(await read(), [`begun${TORN_MARK}`, 'started again'])
})

t.test('a kubelet that cannot rotate renames back, and nothing is told twice', async (t) => {
  const writer = writerIn(t)
  const { read } = follow(t, writer)
  writer.write(['1'])
  t.same(await read(), ['1'])
  renameSync(writer.file, `${writer.file}.20261121-101500`)
  t.same(await read(), [])
  renameSync(`${writer.file}.20261121-101500`, writer.file)
  writer.write(['2'])
  t.same(await read(), ['2'])
})

t.test('links are not followed', async (t) => {
  const writer = writerIn(t)
  const secret = join(writer.folder, 'secret')
  writeFileSync(secret, `${nextTime()} stdout F secret\n`)
  symlinkSync(secret, writer.file)
  t.same(await follow(t, writer).read(), [])
})
