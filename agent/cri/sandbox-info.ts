/** The verbose part of a sandbox's status: a JSON text that containerd and CRI-O write alike as far as it is read here. */
import { asRecord, parseRecord } from '../cni/plugin-side.ts'

export interface SandboxInfo {
  readonly netns: string | undefined
  readonly pid: number | undefined
}

/** @param text of the key `info`; whatever it lacks is undefined */
export function parseSandboxInfo(text: string | undefined): SandboxInfo {
  const info = text === undefined ? undefined : parseRecord(text)
  const namespaces = asRecord(asRecord(info?.['runtimeSpec'])?.['linux'])?.['namespaces']
  const network = Array.isArray(namespaces)
    ? namespaces.map(asRecord).find((namespace) => namespace?.['type'] === 'network')
    : undefined
  const path = network?.['path']
  const pid = info?.['pid']
  return {
    netns: typeof path === 'string' && path.startsWith('/') ? path : undefined,
    pid: typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 1 ? pid : undefined,
  }
}
