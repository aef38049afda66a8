/**
 * The log thread of the agent: reads files and matches lines, so that a million of them delay nothing that the agent
 * does, and what they take is bounded for this thread alone.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { type LogQuery, LogService } from '#logs'
import { compileRegex } from '#routing'
import type { FromLogWorker, LogWorkerData, ToLogWorker } from './log-messages.ts'

function serve(port: MessagePort, { config }: LogWorkerData): void {
  const tell = (message: FromLogWorker) => port.postMessage(message)
  const service = new LogService(config, (problem) => tell({ type: 'problem', problem }), Date.now)
  port.on('message', (message: ToLogWorker) => {
    switch (message.type) {
      case 'pods':
        service.setPods(message.pods)
        break
      case 'begin':
        void service.begin()
        break
      case 'open': {
        const { id, query } = message
        const send = (text: string) => tell({ type: 'frame', id, text })
        service.open(id, query, matcherOf(query), send, (problem) => tell({ type: 'ended', id, problem }))
        break
      }
      case 'acknowledge':
        service.acknowledge(message.id)
        break
      case 'close':
        service.close(message.id)
        break
      case 'status':
        tell({ type: 'status', id: message.id, status: service.status() })
        break
      case 'stop':
        void service.stop().finally(() => {
          tell({ type: 'stopped' })
          port.close()
        })
        break
      default:
        message satisfies never
    }
  })
}

/** In time linear in the message, whatever the expression; that it is one was checked before. */
function matcherOf({ grep }: LogQuery): (message: string) => boolean {
  if (/^[\w\s/:=,;@%&#<>"'~!-]*$/.test(grep)) return (message) => message.includes(grep)
  const compiled = compileRegex(`.*(?:${grep}).*`)
  return compiled.ok ? (message) => compiled.regex.matches(message) : () => false
}

if (parentPort !== null) serve(parentPort, workerData as LogWorkerData)
