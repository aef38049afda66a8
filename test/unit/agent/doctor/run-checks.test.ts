import t from 'tap'
import { okLine } from '#contract'
import { runChecks } from '../../../../agent/doctor/run-checks.ts'

t.test('a check that throws or hangs is a failure line, the others stand, in their order', async (t) => {
  let aborted = false
  const lines = await runChecks(
    [
      { name: 'first', run: () => [okLine('one'), okLine('two')] },
      {
        name: 'thrown',
        run: () => {
          throw new Error('boom\nbang')
        },
      },
      { name: 'rejected', run: () => Promise.reject(new Error('late boom')) },
      {
        name: 'hanging',
        run: (signal) => {
          signal.addEventListener('abort', () => {
            aborted = true
          })
          return new Promise(() => undefined)
        },
      },
      { name: 'last', run: async () => [okLine('three')] },
    ],
    50,
  )
  t.match(lines, [
    { result: 'ok', what: 'one' },
    { result: 'ok', what: 'two' },
    { result: 'failure', what: /^thrown: /, remedy: /boom/ },
    { result: 'failure', what: /^rejected: /, remedy: 'late boom' },
    { result: 'failure', what: /^hanging: not known within 1 s/ },
    { result: 'ok', what: 'three' },
  ])
  t.ok(aborted, 'what hangs is told to end')
})
