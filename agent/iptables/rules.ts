/**
 * What the kernel of an enrolled pod is told, as data: tables, chains and rules in the very words
 * iptables-save prints them, so that what is there can be compared with what should be.
 *
 * Of TCP only a SYN is ever redirected or dropped: a connection that existed before its pod was enrolled
 * (and that conntrack may pick up in mid-stream) meets no rule that changes or ends it. Of UDP only DNS is
 * redirected, and nothing is dropped: where queries are answered is convenience, not a boundary.
 */
import { CONNECTION_MARK, DNS_PORT, HBONE_PORT, INBOUND_PORT, MARK_MASK, OUTBOUND_PORT, PACKET_MARK } from '#contract'

export interface RuleSpec {
  readonly family: 4 | 6
  readonly excludeOutboundPorts: readonly number[]
  readonly excludeInboundPorts: readonly number[]
  /** Canonical text (network address, prefix length); those of the other family are ignored. */
  readonly excludeOutboundCidrs: readonly string[]
  /** Queries to port 53, UDP and TCP, go to the mesh's DNS listeners. */
  readonly captureDns: boolean
  /** Nothing else passes, of any protocol. Nothing is excluded then. */
  readonly quarantine?: QuarantineRules
}

export interface QuarantineRules {
  /** As `excludeOutboundCidrs`: peers in both directions. */
  readonly allow: readonly string[]
  /** From there the kubelet probes those ports. */
  readonly probeHosts: readonly string[]
  readonly probePorts: readonly number[]
  /** No proxy serves the pod for now: nothing is redirected, probes go straight to the application. */
  readonly alone?: true
}

export type TableName = 'nat' | 'filter'

export interface ChainRules {
  readonly name: string
  /** Without the leading `-A CHAIN `. */
  readonly rules: readonly string[]
}

export interface TableRules {
  readonly table: TableName
  /** Each is to be the first rule of a built-in chain. */
  readonly jumps: readonly { readonly from: string; readonly rule: string }[]
  readonly chains: readonly ChainRules[]
}

const NAME_SERVER_PORT = 53

/** Every chain of ours begins with this; nobody else's may. */
export const CHAIN_PREFIX = 'WEIR_'

const hex = (value: number) => `0x${value.toString(16)}`
const OUR_PACKET = `-m mark --mark ${hex(PACKET_MARK)}/${hex(MARK_MASK)}`
const OUR_CONNECTION = `-m mark --mark ${hex(CONNECTION_MARK)}/${hex(MARK_MASK)}`
const SYN = '--tcp-flags FIN,SYN,RST,ACK SYN'
const comment = (text: string) => `-m comment --comment "weir: ${text}"`

/**
 * The tables in the order in which they go in: nat (redirects), then filter (the guard, which drops what
 * nat should have redirected and did not). Between the two no new connection leaks or gets dropped; they
 * go out in the opposite order.
 */
export function desiredTables(spec: RuleSpec): readonly TableRules[] {
  const { quarantine } = spec
  if (quarantine === undefined) return [nat(spec), filter(spec)]
  const cut = quarantineFilter(spec.family, quarantine)
  if (quarantine.alone === true) return [cut]
  return [nat({ ...spec, excludeOutboundPorts: [], excludeInboundPorts: [], excludeOutboundCidrs: [] }), cut]
}

function nat(spec: RuleSpec): TableRules {
  return table('nat', [
    [
      'OUTPUT',
      'WEIR_OUTPUT',
      [
        ...outboundExceptions(spec),
        ...dnsRedirects(spec),
        `-p tcp -m tcp ${SYN} ${comment('new connections go to the outbound listener')} -j REDIRECT --to-ports ${OUTBOUND_PORT}`,
      ],
    ],
    [
      'PREROUTING',
      'WEIR_PREROUTING',
      [
        ...inboundExceptions(spec),
        `-p tcp -m tcp ${SYN} -m addrtype --dst-type LOCAL ${comment('new connections go to the inbound listener')} -j REDIRECT --to-ports ${INBOUND_PORT}`,
      ],
    ],
  ])
}

/** An excluded port 53 means queries of either protocol. */
function dnsRedirects(spec: RuleSpec): string[] {
  if (!spec.captureDns || spec.excludeOutboundPorts.includes(NAME_SERVER_PORT)) return []
  const redirect = `${comment('queries go to the DNS listener')} -j REDIRECT --to-ports ${DNS_PORT}`
  return [
    `-p udp -m udp --dport ${NAME_SERVER_PORT} ${redirect}`,
    `-p tcp -m tcp --dport ${NAME_SERVER_PORT} ${SYN} ${redirect}`,
  ]
}

function filter(spec: RuleSpec): TableRules {
  const drop = `-p tcp -m tcp ${SYN} -m conntrack ! --ctstate DNAT ${comment('nothing new passes unredirected')} -j DROP`
  // Only a SYN enters the guard: every other packet costs one comparison.
  return table(
    'filter',
    [
      ['OUTPUT', 'WEIR_GUARD_OUTPUT', [...outboundExceptions(spec), drop]],
      ['INPUT', 'WEIR_GUARD_INPUT', [...inboundExceptions(spec), drop]],
    ],
    `-p tcp -m tcp ${SYN} `,
  )
}

/**
 * In place of the guard, and for every packet: also those of connections that were there before the mesh, and of sockets
 * that bear our mark, which a pod with the right to set marks could open itself. What is redirected to our listeners
 * stays on loopback; there the proxy refuses it, and says why.
 */
function quarantineFilter(family: 4 | 6, { allow, probeHosts, probePorts, alone }: QuarantineRules): TableRules {
  const ours = (text: string) => text.includes(':') === (family === 6)
  const blocks = allow.filter(ours)
  const host = (address: string) => `${address}/${family === 4 ? 32 : 128}`
  const exceptions = (way: 'in' | 'out') => [
    `${way === 'in' ? '-i' : '-o'} lo ${comment('the pod talking to itself')} -j RETURN`,
    ...(way === 'out'
      ? [`-d ${family === 4 ? '127.0.0.0/8' : '::1/128'} ${comment('redirected to our listeners')} -j RETURN`]
      : []),
    ...blocks.map((block) => `${way === 'in' ? '-s' : '-d'} ${block} ${comment('allowed in quarantine')} -j RETURN`),
    ...probeHosts.filter(ours).flatMap((address) =>
      probePorts.map((port) => {
        // Redirected: what was there before the mesh did not come through the proxy, which knows a probe by more.
        const state = alone === true ? '' : '--ctstate DNAT '
        const from = way === 'in' ? `-s ${host(address)}` : `-d ${host(address)}`
        return `${from} -p tcp -m conntrack ${state}--ctorigdstport ${port} ${comment('probes')} -j RETURN`
      }),
    ),
    ...(family === 6 ? NEIGHBOURS : []),
    `${comment('quarantine')} -j DROP`,
  ]
  return table('filter', [
    ['OUTPUT', 'WEIR_GUARD_OUTPUT', exceptions('out')],
    ['INPUT', 'WEIR_GUARD_INPUT', exceptions('in')],
  ])
}

/** Without neighbour discovery (RFC 4861) no IPv6 address of the link is reached; hop limit 255 never left the link. */
const NEIGHBOURS = [135, 136].map(
  (type) => `-p ipv6-icmp -m icmp6 --icmpv6-type ${type} -m hl --hl-eq 255 ${comment('neighbour discovery')} -j RETURN`,
)

function outboundExceptions(spec: RuleSpec): string[] {
  return [
    `${OUR_PACKET} ${comment('our own sockets')} -j RETURN`,
    `${OUR_CONNECTION} ${comment('our connections to the application')} -j RETURN`,
    `-o lo ${comment('the pod talking to itself')} -j RETURN`,
    ...cidrsOf(spec).map((cidr) => `-d ${cidr} ${comment('excluded by annotation')} -j RETURN`),
    ...spec.excludeOutboundPorts.map(
      (port) => `-p tcp -m tcp --dport ${port} ${comment('excluded by annotation')} -j RETURN`,
    ),
  ]
}

function inboundExceptions(spec: RuleSpec): string[] {
  return [
    `-i lo ${comment('the pod talking to itself')} -j RETURN`,
    `-p tcp -m tcp --dport ${HBONE_PORT} ${comment('tunnels are dialled directly')} -j RETURN`,
    ...spec.excludeInboundPorts.map(
      (port) => `-p tcp -m tcp --dport ${port} ${comment('excluded by annotation')} -j RETURN`,
    ),
  ]
}

function cidrsOf(spec: RuleSpec): string[] {
  return spec.excludeOutboundCidrs.filter((cidr) => cidr.includes(':') === (spec.family === 6) && !cidr.endsWith('/0'))
}

function table(
  name: TableName,
  parts: readonly (readonly [string, string, readonly string[]])[],
  match = '',
): TableRules {
  return {
    table: name,
    jumps: parts.map(([from, chain]) => ({
      from,
      rule: `${match}${comment(`${name} rules of the mesh`)} -j ${chain}`,
    })),
    chains: parts.map(([, chain, rules]) => ({ name: chain, rules })),
  }
}
