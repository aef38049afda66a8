/**
 * The network configuration that the runtime gives on stdin. Of our own fields a bad one is told on stderr and its
 * default holds: a slip in them must not stop every pod of the node.
 */
import { STATE_DIR_DEFAULT } from '#contract'
import { type AttachmentKey, asRecord, parseRecord } from '../protocol.ts'
import { PREFERRED_VERSION } from './outcome.ts'

export const MAX_CONFIGURATION_BYTES = 4 << 20
export const SOCKET_DEFAULT = `${STATE_DIR_DEFAULT}/cni.sock`
/** Pods of these namespaces are what the mesh needs to come up: never asked about, never refused. */
export const EXCLUDED_NAMESPACES_DEFAULT: readonly string[] = ['kube-system', 'weir-system']

export interface NetworkConfiguration {
  readonly cniVersion: string
  readonly name: string
  /** As given; undefined when we are first in the chain. */
  readonly prevResult: Readonly<Record<string, unknown>> | undefined
  /** `cni.dev/valid-attachments`, of GC. */
  readonly valid: readonly AttachmentKey[]
  readonly socket: string
  /** Path of the index on disk; none: an empty text. */
  readonly index: string
  readonly excludeNamespaces: readonly string[]
  /** Longest wait for an opted-in pod to be enrolled, ms. */
  readonly timeoutMs: number
  /** What was wrong with our own fields. */
  readonly complaints: readonly string[]
}

const TIMEOUT_MS = 20_000

/** Undefined when the text is not a JSON object. */
export function parseNetworkConfiguration(text: string): NetworkConfiguration | undefined {
  const value = parseRecord(text)
  if (value === undefined) return undefined
  const complaints: string[] = []
  const pick = <T>(field: string, fits: (given: unknown) => given is T, otherwise: T): T => {
    const given = value[field]
    if (given === undefined) return otherwise
    if (fits(given)) return given
    complaints.push(`${field}: unfit, ${JSON.stringify(otherwise)} holds`)
    return otherwise
  }
  const { cniVersion, name } = value
  return {
    cniVersion: typeof cniVersion === 'string' ? cniVersion : '',
    name: typeof name === 'string' ? name : '',
    prevResult: asRecord(value['prevResult']),
    valid: readValid(value['cni.dev/valid-attachments']),
    socket: pick('socket', isPath, SOCKET_DEFAULT),
    index: pick('index', isPath, ''),
    excludeNamespaces: pick('excludeNamespaces', isTextList, EXCLUDED_NAMESPACES_DEFAULT),
    timeoutMs: pick('timeoutMs', isTimeout, TIMEOUT_MS),
    complaints,
  }
}

/** What is passed on: the previous plugin's result as it came, in the version asked for. */
export function passedResult({ prevResult, cniVersion }: NetworkConfiguration): object {
  return { ...(prevResult ?? { interfaces: [], ips: [] }), cniVersion: cniVersion || PREFERRED_VERSION }
}

/**
 * Addresses, without prefix length, that the plugins before us gave to the pod: those of interfaces inside a sandbox, or
 * of no interface in particular.
 */
export function resultAddresses(prevResult: Readonly<Record<string, unknown>> | undefined): readonly string[] {
  const { ips, interfaces } = prevResult ?? {}
  if (!Array.isArray(ips)) return []
  return ips.flatMap((entry: unknown) => {
    const { address, interface: index } = asRecord(entry) ?? {}
    if (typeof address !== 'string') return []
    if (typeof index === 'number' && Array.isArray(interfaces)) {
      const { sandbox } = asRecord(interfaces[index]) ?? {}
      if (sandbox === undefined || sandbox === '') return []
    }
    return [address.split('/')[0] ?? '']
  })
}

function readValid(value: unknown): readonly AttachmentKey[] {
  if (!Array.isArray(value)) return []
  return value.flatMap((entry: unknown) => {
    const { containerID, ifname } = asRecord(entry) ?? {}
    return typeof containerID === 'string' && typeof ifname === 'string'
      ? [{ containerId: containerID, ifName: ifname }]
      : []
  })
}

function isPath(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith('/')
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string')
}

function isTimeout(value: unknown): value is number {
  return typeof value === 'number' && value >= 1 && value <= 120_000
}
