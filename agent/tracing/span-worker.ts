/** The span thread of the agent: reads what proxies tell of requests, and sends their spans to a collector. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { readBatch, SpanQueue } from '#tracing'
import { guardHeap } from '../heap-guard.ts'
import type { FromAnyWorker } from '../worker-thread.ts'
import type { FromSpanWorker, SpanWorkerData, ToSpanWorker } from './span-messages.ts'

function serve(port: MessagePort, { node, url }: SpanWorkerData): void {
  const tell = (message: FromSpanWorker | FromAnyWorker) => port.postMessage(message)
  const queue = new SpanQueue({
    node,
    url,
    onProblem: (problem) => tell({ type: 'problem', problem }),
    onCounts: (counts) => tell({ type: 'counts', counts }),
    now: () => performance.now(),
    random: Math.random,
  })
  port.on('message', (message: ToSpanWorker) => {
    switch (message.type) {
      case 'spans': {
        const requests = readBatch(message.batch)
        if (requests === undefined) tell({ type: 'problem', problem: 'A proxy told of spans that are malformed' })
        else queue.add(requests)
        tell({ type: 'taken' })
        break
      }
      case 'stop':
        void queue.stop().finally(() => {
          tell({ type: 'stopped' })
          port.close()
        })
        break
      default:
        message satisfies never
    }
  })
}

if (parentPort !== null) {
  guardHeap()
  serve(parentPort, workerData as SpanWorkerData)
}
