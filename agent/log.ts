/** The agent's log: one JSON line per event on stdout. */
import pino from 'pino'

export type AgentLog = pino.Logger

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export function createLog(level: LogLevel, node: string): AgentLog {
  return pino(
    { level, base: { node, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 1, sync: true }),
  )
}
