/** The `weir` command. */
import { errorLine } from '#base'
import { runCli } from './cli.ts'

// A reader that has enough (`weir metrics | head`) is no error.
let isRead = true
process.stdout.on('error', () => {
  isRead = false
})

try {
  const exitCode = await runCli(process.argv.slice(2), {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    print: (text) => {
      const { promise, resolve } = Promise.withResolvers<boolean>()
      process.stdout.write(text, () => resolve(isRead))
      return promise
    },
    isTerminal: process.stdout.isTTY && process.env['NO_COLOR'] === undefined,
    runAgent: async (argv) => {
      const { main } = await import('../../agent/main.ts')
      const code: unknown = await main(argv)
      return typeof code === 'number' ? code : undefined
    },
    runCa: async (argv) => {
      const { main } = await import('../../agent/ca/main.ts')
      return main(argv)
    },
    runUninstall: async (argv) => {
      const { main } = await import('../../agent/uninstall.ts')
      return main(argv)
    },
    runPreflight: async (call) => {
      const { runPreflight } = await import('../../agent/doctor/preflight.ts')
      return runPreflight(call)
    },
    annotatePod: async (call) => {
      const { annotatePod } = await import('../../agent/annotate-pod.ts')
      return annotatePod(call)
    },
    nowMs: () => Date.now(),
  })
  if (exitCode !== undefined) process.exitCode = exitCode
} catch (error) {
  process.stderr.write(`weir: ${errorLine(error)}\n`)
  process.exitCode = 70
}
