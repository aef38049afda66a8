import t from 'tap'
import { type MachineFacts, machineLines } from '../../../../agent/doctor/machine-lines.ts'

const GOOD: MachineFacts = {
  kernelRelease: '6.1.0-18-amd64',
  nodeVersion: 'v26.10.0',
  isRoot: true,
  missingPrograms: [],
  openFiles: 1_048_576,
  inotifyInstances: 128,
  inotifyWatches: 65_536,
  trackedConnections: 100,
  trackedConnectionsMax: 262_144,
  memoryLimitBytes: undefined,
  stateDir: '/run/weir',
  stateDirTrouble: undefined,
}

t.test('a good machine has lines that are ok, without a remedy', async (t) => {
  const lines = machineLines(GOOD)
  t.ok(lines.length >= 6)
  for (const line of lines) t.match(line, { result: 'ok', remedy: '' }, line.what)
  t.ok(lines.some(({ what }) => what === 'kernel 6.1.0-18-amd64'))
  for (const release of ['4.18.0-553.el8', '10.0.0']) {
    t.ok(
      machineLines({ ...GOOD, kernelRelease: release }).every(({ result }) => result === 'ok'),
      release,
    )
  }
})

t.test('each thing that is wrong is one line with its remedy', async (t) => {
  const cases: readonly (readonly [Partial<MachineFacts>, 'failure' | 'warning', RegExp, RegExp])[] = [
    [{ isRoot: false }, 'failure', /not run as root/, /sudo/],
    [{ kernelRelease: '4.17.9' }, 'failure', /kernel 4.17.9 is older than 4.18/, /newer kernel/],
    [{ kernelRelease: '3.10.0-1160.el7' }, 'failure', /kernel 3.10/, /newer kernel/],
    [{ nodeVersion: 'v24.1.0' }, 'failure', /Node v24.1.0 is older than 26/, /Node 26/],
    [{ missingPrograms: ['ip', 'setpriv'] }, 'failure', /ip, setpriv/, /apt install iproute2 util-linux/],
    [{ openFiles: 1_024 }, 'warning', /ulimit -n\) is 1024, below 16384/, /LimitNOFILE/],
    [{ inotifyInstances: 16 }, 'warning', /max_user_instances is 16/, /sysctl/],
    [{ trackedConnections: 250_000 }, 'warning', /holds 250000 of 262144/, /nf_conntrack_max/],
    [{ memoryLimitBytes: 64 << 20 }, 'warning', /memory limit 64 MiB, below 256/, /resources.limits.memory/],
    [{ stateDirTrouble: '/run: EROFS' }, 'failure', /\/run\/weir cannot be written \(\/run: EROFS\)/, /--state-dir/],
  ]
  for (const [changes, result, what, remedy] of cases) {
    const wrong = machineLines({ ...GOOD, ...changes }).filter((line) => line.result !== 'ok')
    t.match(wrong, [{ result, what, remedy }], JSON.stringify(changes))
    t.equal(wrong.length, 1)
  }
})

t.test('what cannot be read is not judged', async (t) => {
  const lines = machineLines({
    ...GOOD,
    openFiles: undefined,
    inotifyInstances: undefined,
    trackedConnections: undefined,
    trackedConnectionsMax: undefined,
  })
  t.ok(lines.every(({ result }) => result === 'ok'))
})
