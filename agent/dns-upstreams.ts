/** Name servers that proxies pass queries on to: from the command line, or from this node's resolv.conf. */
import { readFileSync } from 'node:fs'
import type { DnsSettings } from '#contract'
import { canonicalAddress } from '#resources'

type NameServer = DnsSettings['upstreams'][number]

const NAME_SERVER_PORT = 53
/** The second one tells what stands behind systemd-resolved's loopback address, as it does the kubelet. */
const RESOLV_CONFS = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf']

/** `10.96.0.10`, `10.96.0.10:5353`, `fd96::a`, `[fd96::a]:5353`, separated by commas; undefined when it is not. */
export function parseNameServers(text: string): readonly NameServer[] | undefined {
  const servers = text.split(',').map((entry) => parseNameServer(entry.trim()))
  return servers.every((server) => server !== undefined) ? servers : undefined
}

function parseNameServer(text: string): NameServer | undefined {
  const [, six, four, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
  const address = canonicalAddress(six ?? four ?? text)
  const number = port === undefined ? NAME_SERVER_PORT : Number(port)
  return address === undefined || number < 1 || number > 65535 ? undefined : { address, port: number }
}

/** Those of the node that a pod can reach: its loopback is not the pod's. */
export function nodeNameServers(readText: (path: string) => string = readOrEmpty): readonly NameServer[] {
  for (const path of RESOLV_CONFS) {
    const addresses = [...readText(path).matchAll(/^\s*nameserver\s+(\S+)/gm)].flatMap(([, text = '']) => {
      const address = canonicalAddress(text)
      return address === undefined || address === '::1' || address.startsWith('127.') ? [] : [address]
    })
    if (addresses.length > 0) return addresses.map((address) => ({ address, port: NAME_SERVER_PORT }))
  }
  return []
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
