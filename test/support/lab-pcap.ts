/** What a pcap file of Ethernet packets holds of TCP and UDP: per direction of a flow, its bytes in their order. */

export interface CapturedFlow {
  readonly protocol: 'tcp' | 'udp'
  readonly source: string
  readonly sourcePort: number
  readonly destination: string
  readonly destinationPort: number
  /** TCP: the stream, repeated segments once; UDP: all datagrams' payloads. */
  readonly payload: Buffer
}

export interface CapturedTraffic {
  /** The file as tcpdump wrote it. */
  readonly pcap: Buffer
  /** All packets, of any protocol. */
  readonly packetCount: number
  /** One for each direction, by first packet. */
  readonly flows: readonly CapturedFlow[]
  /** The payloads of all flows one after the other: `bytes.includes('GET /')`. */
  readonly bytes: Buffer
}

interface Segment {
  readonly start: number
  readonly payload: Buffer
}

interface FlowDraft {
  readonly flow: Omit<CapturedFlow, 'payload'>
  readonly firstSequence: number
  readonly segments: Segment[]
}

const MAGIC = 0xa1b2c3d4
const ETHERNET = 1
const FILE_HEADER_BYTES = 24
const RECORD_HEADER_BYTES = 16
const TCP = 6
const UDP = 17

/** Fails on anything but a complete little-endian pcap file of Ethernet packets (pcap-savefile(5)). */
export function parseCapture(pcap: Buffer): CapturedTraffic {
  if (pcap.length < FILE_HEADER_BYTES || pcap.readUInt32LE(0) !== MAGIC || pcap.readUInt32LE(20) !== ETHERNET) {
    throw new Error('The capture is no little-endian pcap file of Ethernet packets')
  }
  const drafts = new Map<string, FlowDraft>()
  let packetCount = 0
  for (let at = FILE_HEADER_BYTES; at < pcap.length; packetCount++) {
    const start = at + RECORD_HEADER_BYTES
    const [captured, original] = [pcap.readUInt32LE(at + 8), pcap.readUInt32LE(at + 12)]
    if (captured < original || start + captured > pcap.length) throw new Error('The capture holds a cut packet')
    addPacket(drafts, pcap.subarray(start, start + captured))
    at = start + captured
  }
  const flows = [...drafts.values()].map(({ flow, segments }) => ({
    ...flow,
    payload: flow.protocol === 'tcp' ? joinStream(segments) : Buffer.concat(segments.map(({ payload }) => payload)),
  }))
  return { pcap, packetCount, flows, bytes: Buffer.concat(flows.map(({ payload }) => payload)) }
}

function addPacket(drafts: Map<string, FlowDraft>, frame: Buffer): void {
  const etherType = frame.readUInt16BE(12)
  const packet = frame.subarray(14)
  if (etherType === 0x0800) {
    const addresses = [ipv4Text(packet.subarray(12, 16)), ipv4Text(packet.subarray(16, 20))] as const
    // A length of 0: the kernel left the cutting into segments to the device.
    const end = packet.readUInt16BE(2) || packet.length
    addSegment(drafts, packet[9] ?? 0, addresses, packet.subarray(((packet[0] ?? 0) & 15) * 4, end))
  } else if (etherType === 0x86dd) {
    const addresses = [ipv6Text(packet.subarray(8, 24)), ipv6Text(packet.subarray(24, 40))] as const
    const length = packet.readUInt16BE(4)
    addSegment(drafts, packet[6] ?? 0, addresses, packet.subarray(40, length === 0 ? packet.length : 40 + length))
  }
}

function addSegment(
  drafts: Map<string, FlowDraft>,
  protocolNumber: number,
  [source, destination]: readonly [string, string],
  segment: Buffer,
): void {
  if (protocolNumber !== TCP && protocolNumber !== UDP) return
  const tcp = protocolNumber === TCP
  const [sourcePort, destinationPort] = [segment.readUInt16BE(0), segment.readUInt16BE(2)]
  const sequence = tcp ? segment.readUInt32BE(4) : 0
  const key = [protocolNumber, source, sourcePort, destination, destinationPort].join()
  let draft = drafts.get(key)
  if (draft === undefined) {
    const ends = { source, sourcePort, destination, destinationPort }
    draft = { flow: { protocol: tcp ? 'tcp' : 'udp', ...ends }, firstSequence: sequence, segments: [] }
    drafts.set(key, draft)
  }
  const payload = segment.subarray(tcp ? ((segment[12] ?? 0) >> 4) * 4 : 8)
  // Sequence numbers wrap (RFC 9293, 3.4): the difference is a signed one.
  if (payload.length > 0) draft.segments.push({ start: (sequence - draft.firstSequence) | 0, payload })
}

/** Bytes in the order of their sequence numbers, those sent again left out. */
function joinStream(segments: readonly Segment[]): Buffer {
  const parts: Buffer[] = []
  let next = Number.NEGATIVE_INFINITY
  for (const { start, payload } of segments.toSorted((a, b) => a.start - b.start)) {
    const end = start + payload.length
    if (end <= next) continue
    parts.push(start < next ? payload.subarray(next - start) : payload)
    next = end
  }
  return Buffer.concat(parts)
}

function ipv4Text(bytes: Buffer): string {
  return bytes.join('.')
}

/** RFC 5952, as the URL parser writes it. */
function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16))
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1)
}
