/** What `/proc` says of a node's saturation, read as text. Pure. */

/** Segments sent and sent again, of one network namespace. */
export interface TcpSegments {
  readonly sent: number
  readonly retransmitted: number
}

/** `/proc/net/snmp` (RFC 2012's tcpOutSegs and tcpRetransSegs); undefined when it is not understood. */
export function readTcpSegments(snmp: string): TcpSegments | undefined {
  const [head, values] = snmp.split('\n').filter((line) => line.startsWith('Tcp: '))
  const names = head?.split(' ') ?? []
  const numbers = values?.split(' ') ?? []
  const at = (name: string) => Number(numbers[names.indexOf(name)] ?? Number.NaN)
  const found = { sent: at('OutSegs'), retransmitted: at('RetransSegs') }
  return Number.isFinite(found.sent) && Number.isFinite(found.retransmitted) ? found : undefined
}

/** `/proc/pressure/…`: seconds in which some task waited; undefined when it is not understood. */
export function readPressureSeconds(text: string): number | undefined {
  const [, micros] = /^some .*total=(\d+)/m.exec(text) ?? []
  return micros === undefined ? undefined : Number(micros) / 1e6
}

/** `/proc/diskstats`: seconds in which a whole disk had something to do (field 13), by name. */
export function readDiskBusySeconds(text: string): readonly (readonly [string, number])[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/)
    const [, , name = ''] = fields
    const millis = Number(fields[12])
    // Partitions, memory and loop devices are not what waits.
    return /^(?:sd[a-z]+|vd[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+|dm-\d+|md\d+)$/.test(name) && Number.isFinite(millis)
      ? [[name, millis / 1000] as const]
      : []
  })
}
