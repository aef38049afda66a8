/** The CNI_* variables of a call. */
import type { AttachmentKey, PodRef } from '../protocol.ts'

export interface CallEnvironment {
  readonly command: string
  readonly key: AttachmentKey
  /** Empty where the runtime gives none, as in a late DEL. */
  readonly netns: string
  /** Undefined: not called for a Kubernetes pod. */
  readonly pod: PodRef | undefined
}

export type ParsedEnvironment =
  | { readonly kind: 'environment'; readonly environment: CallEnvironment }
  | { readonly kind: 'error'; readonly why: string }

/** Variables that each command must have (CNI 1.1.0, section 2). */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  GC: [],
  STATUS: [],
  VERSION: [],
}

export function parseEnvironment(env: Readonly<Record<string, string | undefined>>): ParsedEnvironment {
  const command = env['CNI_COMMAND'] ?? ''
  const needed = Object.hasOwn(NEEDED, command) ? NEEDED[command] : undefined
  if (needed === undefined) {
    const got = command === '' ? 'it is not set' : `got ${JSON.stringify(command)}`
    return error(
      `CNI_COMMAND: expected one of ${Object.keys(NEEDED).join(', ')}, ${got}; a container runtime calls this`,
    )
  }
  const missing = needed.filter((name) => (env[name] ?? '') === '')
  if (missing.length > 0) return error(`${missing.join(', ')}: must be set for ${command}`)
  const containerId = env['CNI_CONTAINERID'] ?? ''
  if (containerId !== '' && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,1023}$/.test(containerId)) {
    return error('CNI_CONTAINERID: expected letters, digits, _, . and -')
  }
  const ifName = env['CNI_IFNAME'] ?? ''
  if (ifName !== '' && (!/^[^/:\s]{1,15}$/.test(ifName) || ifName === '.' || ifName === '..')) {
    return error('CNI_IFNAME: not the name of an interface')
  }
  const netns = env['CNI_NETNS'] ?? ''
  return {
    kind: 'environment',
    environment: { command, key: { containerId, ifName }, netns, pod: readPod(env['CNI_ARGS'] ?? '') },
  }
}

/** `IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;…` as every Kubernetes runtime gives them. */
function readPod(args: string): PodRef | undefined {
  const values = new Map<string, string>()
  for (const pair of args.split(';')) {
    const equals = pair.indexOf('=')
    if (equals > 0) values.set(pair.slice(0, equals), pair.slice(equals + 1))
  }
  const [namespace, name, uid] = ['K8S_POD_NAMESPACE', 'K8S_POD_NAME', 'K8S_POD_UID'].map(
    (key) => values.get(key) ?? '',
  )
  if (!namespace || !name) return undefined
  return { namespace, name, ...(uid ? { uid } : {}) }
}

function error(why: string): ParsedEnvironment {
  return { kind: 'error', why }
}
