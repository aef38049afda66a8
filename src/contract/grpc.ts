/** Statuses of gRPC calls by name (github.com/grpc/grpc, doc/statuscodes.md). */
export const GRPC_STATUS = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const satisfies Record<string, number>

/** The names of all but OK. */
export const GRPC_FAILURES = Object.keys(GRPC_STATUS).filter(isFailure)

/** The server's fault, as OpenTelemetry has it (semantic conventions for RPC, gRPC). */
export const GRPC_SERVER_ERRORS: ReadonlySet<number> = new Set([
  GRPC_STATUS.UNKNOWN,
  GRPC_STATUS.DEADLINE_EXCEEDED,
  GRPC_STATUS.UNIMPLEMENTED,
  GRPC_STATUS.INTERNAL,
  GRPC_STATUS.UNAVAILABLE,
  GRPC_STATUS.DATA_LOSS,
])

/** As its number where it has no name. */
export function grpcStatusName(status: number): string {
  return Object.entries(GRPC_STATUS).find(([, number]) => number === status)?.[0] ?? String(status)
}

function isFailure(name: string): name is Exclude<keyof typeof GRPC_STATUS, 'OK'> {
  return name !== 'OK' && Object.hasOwn(GRPC_STATUS, name)
}
