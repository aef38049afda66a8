/** DNS messages on a TCP stream: each behind its length, two bytes (RFC 1035 section 4.2.2). */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0)

  /** Takes what a stream read; `bytes` may be used again afterwards. @returns the messages that are complete now */
  read(bytes: Buffer, length: number): readonly Buffer[] {
    // At most one message, 64 KiB, waits for its end.
    let rest = Buffer.concat([this.#rest, bytes.subarray(0, length)])
    const messages: Buffer[] = []
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const end = 2 + rest.readUInt16BE(0)
      messages.push(rest.subarray(2, end))
      rest = rest.subarray(end)
    }
    this.#rest = rest
    return messages
  }
}

export function frameOf(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length)
  return Buffer.concat([length, message])
}
