export type { LogPod } from './log-line.ts'
export { type LogQuery, parseLogQuery } from './log-query.ts'
export { type AccessPlace, LogService, type LogsConfig, type LogsStatus, MAX_READERS } from './log-service.ts'
export { ReaderOutput } from './reader-output.ts'
