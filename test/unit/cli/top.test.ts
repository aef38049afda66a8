import t from 'tap'
import type { TrafficAnswer } from '#contract'
import { topVerb } from '../../../src/cli/top.ts'

const answer = (atMs: number, requests: number): TrafficAnswer => ({
  node: 'node-1',
  atMs,
  families: [
    {
      name: 'istio_requests_total',
      help: '',
      type: 'counter',
      series: [
        {
          labels: {
            reporter: 'source',
            response_code: '200',
            source_workload: 'evil\u001b[2J',
            source_workload_namespace: 'shop',
            destination_workload: 'web',
            destination_workload_namespace: 'shop',
            destination_service_name: 'web',
            destination_service_namespace: 'shop',
          },
          values: [requests],
        },
      ],
    },
  ],
})

t.test('on a terminal it draws anew over what was there, until nobody reads', async (t) => {
  const answers = [answer(0, 10), answer(1_000, 30), answer(2_000, 40)]
  const asked: string[] = []
  const printed: string[] = []
  const result = await topVerb.run({
    values: { window: '1' },
    words: [],
    json: false,
    ask: async (path: string) => {
      asked.push(path)
      return { kind: 'answer', status: 200, text: JSON.stringify(answers.shift()) }
    },
    preflight: async () => [],
    annotatePod: async () => undefined,
    print: async (text: string) => {
      printed.push(text)
      return printed.length < 3
    },
    isTerminal: true,
    nowMs: 0,
  } as unknown as Parameters<typeof topVerb.run>[0])
  t.same(result, { exitCode: 0, output: '' })
  t.same(asked, ['/traffic', '/traffic', '/traffic'])
  t.ok(printed.every((text) => text.startsWith('\u001b[H') && text.endsWith('\u001b[J')))
  t.match(printed[0], /Looking for 1 s/)
  t.match(printed[1], /shop\/web +20\.0 /)
  t.match(printed[2], /shop\/web +10\.0 /)
  t.notOk(printed[2]?.includes('\u001b[2J'), 'what a workload is called does not reach the terminal as it is')
})
