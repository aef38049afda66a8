import { closeSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { closeFd, MAX_FDS_PER_PACKET, openFdChannel, receiveFds, sendFds } from '#linux'

const openCount = () => readdirSync('/proc/self/fd').length

t.test('descriptors arrive in order, open, close-on-exec, under their ticket', (t) => {
  const dir = t.testdir()
  const [mine, theirs] = openFdChannel()
  const fds = ['a', 'b'].map((name) => {
    writeFileSync(join(dir, name), name)
    return openSync(join(dir, name), 'r')
  })
  t.equal(receiveFds(theirs), 'empty')
  t.ok(sendFds(mine, 7, fds))
  for (const fd of fds) closeSync(fd)
  const packet = receiveFds(theirs)
  t.type(packet, 'object')
  if (typeof packet === 'object') {
    t.equal(packet.ticket, 7)
    const read = (fd: number) => {
      const bytes = Buffer.alloc(1)
      readSync(fd, bytes)
      return bytes.toString()
    }
    t.same(packet.fds.map(read), ['a', 'b'])
    for (const fd of packet.fds) {
      t.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s+0?2\d{6}/, 'O_CLOEXEC')
      closeFd(fd)
    }
  }
  closeFd(mine)
  t.equal(receiveFds(theirs), 'closed')
  closeFd(theirs)
  t.end()
})

t.test('a receiver that is behind is told by false, and no descriptor is lost', (t) => {
  const before = openCount()
  const [mine, theirs] = openFdChannel()
  let sent = 0
  while (sent < 100_000 && sendFds(mine, sent, [0])) sent += 1
  t.ok(sent > 10 && sent < 100_000, `${sent} packets fit`)
  for (let i = 0; i < sent; i++) {
    const packet = receiveFds(theirs)
    if (typeof packet !== 'object' || packet.ticket !== i) {
      t.fail(`packet ${i} is missing`)
      break
    }
    for (const fd of packet.fds) closeFd(fd)
  }
  t.ok(sendFds(mine, 1, [0]))
  closeFd(mine)
  closeFd(theirs)
  t.equal(openCount(), before)
  t.end()
})

t.test('none or too many descriptors, and a channel whose other end is gone, are errors', (t) => {
  const [mine, theirs] = openFdChannel()
  t.throws(() => sendFds(mine, 1, []), { code: 'WEIR_LINUX_FDS' })
  t.throws(() => sendFds(mine, 1, Array(MAX_FDS_PER_PACKET + 1).fill(0)), { code: 'WEIR_LINUX_FDS' })
  closeFd(theirs)
  t.throws(() => sendFds(mine, 1, [0]), /EPIPE/)
  closeFd(mine)
  t.end()
})
