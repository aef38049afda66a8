import t from 'tap'
import { PodSegments } from '../../../../agent/saturation/pod-segments.ts'
import { readDiskBusySeconds, readPressureSeconds, readTcpSegments } from '../../../../agent/saturation/proc-facts.ts'

t.test('TCP segments are found by their names, not their places', async (t) => {
  const snmp = 'Ip: A B\nIp: 1 2\nTcp: InSegs OutSegs RetransSegs\nTcp: 9 100 3\nUdp: X\nUdp: 1\n'
  t.same(readTcpSegments(snmp), { sent: 100, retransmitted: 3 })
  for (const text of ['', 'Tcp: OutSegs\nTcp: 1\n', 'Tcp: OutSegs RetransSegs\n'])
    t.equal(readTcpSegments(text), undefined)
})

t.test('Pressure is the time in which some task waited', async (t) => {
  const text = 'some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n'
  t.equal(readPressureSeconds(text), 2.5)
  t.equal(readPressureSeconds('nothing'), undefined)
})

t.test('Whole disks are told, no partitions', async (t) => {
  const line = (name: string) => ` 254 0 ${name} 1 2 3 4 5 6 7 8 0 1500 12 0 0 0 0 0 0\n`
  t.same(readDiskBusySeconds(['vda', 'vda1', 'nvme0n1', 'nvme0n1p2', 'loop0', 'sda', 'dm-0'].map(line).join('')), [
    ['vda', 1.5],
    ['nvme0n1', 1.5],
    ['sda', 1.5],
    ['dm-0', 1.5],
  ])
})

t.test('Segments of pods are summed by namespace, and never fall', async (t) => {
  const segments = new PodSegments()
  const add = (...pods: readonly (readonly [string, number, number])[]) =>
    segments.add(pods.map(([pod, sent, retransmitted]) => ({ pod, segments: { sent, retransmitted } })))
  t.same(add(['shop/a', 10, 1], ['shop/b', 5, 0], ['data/c', 7, 0]), {
    sent: [
      [{ namespace: 'shop' }, 15],
      [{ namespace: 'data' }, 7],
    ],
    retransmitted: [
      [{ namespace: 'shop' }, 1],
      [{ namespace: 'data' }, 0],
    ],
  })
  t.match(
    add(['shop/a', 12, 3], ['data/c', 7, 0]).sent,
    [
      [{}, 17],
      [{}, 7],
    ],
    'a pod that is gone has sent what it has',
  )
  t.match(
    add(['shop/a', 4, 0]).sent,
    [
      [{}, 21],
      [{}, 7],
    ],
    'a pod of the same name anew',
  )
})
