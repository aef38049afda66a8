/**
 * ServiceEntry (networking.istio.io v1, v1beta1, v1alpha3), strict: hosts outside the cluster, and machines outside it.
 * What the mesh does not carry out is refused by name; the last good version stays in force.
 */

import {
  FAILED,
  type Issue,
  list,
  map,
  type Output,
  object,
  oneOf,
  optional,
  port,
  refine,
  type Schema,
  string,
  withDefault,
} from '#schema'
import { canonicalAddress, canonicalCidr } from './address.ts'
import { checkHostname, checkLabelName, checkPreciseHostname } from './names.ts'

const PROTOCOLS = ['HTTP', 'HTTPS', 'HTTP2', 'GRPC', 'TLS', 'TCP'] as const

/** In any case, as Istio reads it. */
const protocol: Schema<(typeof PROTOCOLS)[number]> = {
  read(value, field, issues) {
    const word = typeof value === 'string' ? value.toUpperCase() : value
    const read = oneOf(...PROTOCOLS).read(word, field, issues)
    return read === FAILED ? FAILED : read
  },
}

const servicePort = object('strict', {
  number: port(),
  protocol: withDefault(protocol, 'TCP'),
  name: withDefault(string(), ''),
  targetPort: optional(port()),
})

const NOT_USED = 'is not supported: remove it'

const endpoint = object(
  'strict',
  {
    address: string((text) =>
      canonicalAddress(text) !== undefined || checkPreciseHostname(text) === undefined
        ? undefined
        : `expected an IP address or a host name, got ${JSON.stringify(text)}`,
    ),
    ports: withDefault(map(port()), {}),
    /** Of no effect here; kept by people for other tools. */
    labels: withDefault(map(string()), {}),
  },
  { network: NOT_USED, locality: NOT_USED, weight: NOT_USED, serviceAccount: NOT_USED },
)

const address = string((text) =>
  canonicalCidr(text) !== undefined ? undefined : `expected an IP address or a CIDR block, got ${JSON.stringify(text)}`,
)
const host = string((text) =>
  /(^|\.)svc\.cluster\.local$/.test(text) ? 'is a name of the cluster’s own Services' : checkHostname(text),
)
const exportTo = string((text) => (text === '*' || text === '.' ? undefined : checkLabelName(text)))

const spec = refine(
  object(
    'strict',
    {
      hosts: list(host, { min: 1, max: 256 }),
      addresses: withDefault(list(address, { max: 256 }), []),
      ports: list(servicePort, { min: 1, max: 256 }),
      location: withDefault(oneOf('MESH_EXTERNAL', 'MESH_INTERNAL'), 'MESH_EXTERNAL'),
      resolution: withDefault(oneOf('NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN'), 'NONE'),
      endpoints: withDefault(list(endpoint, { max: 1000 }), []),
      exportTo: withDefault(list(exportTo), ['*']),
    },
    {
      workloadSelector: 'is not supported: list the endpoints, or use a Service with a selector',
      subjectAltNames: 'is not supported: the mesh opens no TLS of its own to these hosts',
    },
  ),
  checkResolution,
)

function checkResolution(
  value: {
    readonly hosts: readonly string[]
    readonly ports: readonly { readonly number: number; readonly targetPort?: number }[]
    readonly resolution: string
    readonly endpoints: readonly { readonly address: string }[]
  },
  field: string,
  issues: Issue[],
): void {
  const { hosts, ports, resolution, endpoints } = value
  const add = (name: string, message: string): void => {
    issues.push({ field: `${field}.${name}`, message })
  }
  for (const [index, { number }] of ports.entries()) {
    const first = ports.findIndex((other) => other.number === number)
    if (first < index) add(`ports[${index}].number`, `${number} is already the number of ports[${first}]`)
  }
  const named = endpoints.findIndex((one) => canonicalAddress(one.address) === undefined)
  if (resolution === 'NONE') {
    if (endpoints.length > 0) add('endpoints', 'resolution NONE has none: use STATIC or DNS, or remove them')
    const mapped = ports.findIndex(({ targetPort }) => targetPort !== undefined)
    if (mapped >= 0) add(`ports[${mapped}].targetPort`, 'has no effect with resolution NONE: use STATIC or DNS')
  } else if (resolution === 'STATIC') {
    if (endpoints.length === 0) add('endpoints', 'resolution STATIC needs at least one')
    if (named >= 0) add(`endpoints[${named}].address`, 'resolution STATIC needs an IP address: use DNS for host names')
  } else if (endpoints.length === 0) {
    const wild = hosts.findIndex((name) => name.startsWith('*'))
    if (wild >= 0) add(`hosts[${wild}]`, 'a wildcard cannot be looked up: use resolution NONE, or give endpoints')
  }
}

export const serviceEntryBody = object('strict', { spec })

export type ServiceEntryBody = Output<typeof serviceEntryBody>
