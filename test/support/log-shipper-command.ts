/** A log service that ships to a file until it is told to end: `node log-shipper-command.ts CONFIG-JSON`. */
import { LogService, type LogsConfig } from '#logs'

const service = new LogService(JSON.parse(process.argv[2] ?? '') as LogsConfig, console.error, Date.now)
process.on('SIGTERM', () => void service.stop().then(() => process.exit(0)))
await service.begin()
console.log('begun')
