/** What OpenSSL or Node has against a connection, in a few words for the log. */

/** Their messages come with addresses, file names and advice. */
export function tlsProblem(error: Error): string {
  if ('reason' in error && typeof error.reason === 'string') return error.reason
  if ('code' in error && error.code === 'ECONNRESET') return 'the connection was closed during the handshake'
  return firstWords(error.message)
}

/** Without the advice that Node appends. */
export function firstWords(message: string): string {
  return message.split(/[;\n]/, 1)[0] ?? message
}
