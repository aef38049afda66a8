import t from 'tap'
import { parseAgentArguments } from '../../../agent/config.ts'
import { nodeNameServers, parseNameServers } from '../../../agent/dns-upstreams.ts'

t.test('name servers are IP addresses, with a port or without', (t) => {
  t.same(parseNameServers('10.96.0.10, 10.96.0.11:5353,FD96::000a,[fd96::b]:54'), [
    { address: '10.96.0.10', port: 53 },
    { address: '10.96.0.11', port: 5353 },
    { address: 'fd96::a', port: 53 },
    { address: 'fd96::b', port: 54 },
  ])
  for (const text of ['', 'dns.example', '10.96.0.10,', '10.96.0.10:0', '10.96.0.10:65536', '[10.96.0.10']) {
    t.equal(parseNameServers(text), undefined, text)
  }
  t.end()
})

t.test('the node’s name servers are those that a pod can reach, behind systemd-resolved too', (t) => {
  const files: Record<string, string> = {
    '/etc/resolv.conf':
      '# made by hand\nnameserver 10.0.0.2\nsearch example.org\n nameserver fd00::2\nnameserver 127.0.0.1\n',
  }
  const read = (path: string) => files[path] ?? ''
  t.same(nodeNameServers(read), [
    { address: '10.0.0.2', port: 53 },
    { address: 'fd00::2', port: 53 },
  ])
  files['/etc/resolv.conf'] = 'nameserver 127.0.0.53\noptions edns0\n'
  t.same(nodeNameServers(read), [])
  files['/run/systemd/resolve/resolv.conf'] = 'nameserver 192.0.2.53\n'
  t.same(nodeNameServers(read), [{ address: '192.0.2.53', port: 53 }])
  t.end()
})

t.test('name servers that are given are asked even where the cluster has its own', (t) => {
  const base = ['--node', 'n1', '--manifests', '/m']
  t.match(parseAgentArguments([...base, '--dns-upstream', '192.0.2.53']), {
    config: { dns: { upstreams: [{ address: '192.0.2.53', port: 53 }], preferCluster: false } },
  })
  t.match(parseAgentArguments(base), { config: { dns: { preferCluster: true } } })
  t.match(parseAgentArguments([...base, '--dns-upstream', 'nowhere']), { kind: 'errors' })
  t.end()
})
