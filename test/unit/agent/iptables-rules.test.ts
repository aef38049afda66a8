import t from 'tap'
import { renderRules } from '../../../agent/iptables/pod-rules.ts'
import { desiredTables } from '../../../agent/iptables/rules.ts'
import { foreignTables, parseSaved } from '../../../agent/iptables/saved.ts'
import { findDifferences, renderApply, renderDeleteEmptied, renderRemove } from '../../../agent/iptables/transaction.ts'

const NONE = { excludeOutboundPorts: [], excludeInboundPorts: [], excludeOutboundCidrs: [], captureDns: false }
const SPEC = {
  family: 4 as const,
  excludeOutboundPorts: [3306],
  excludeInboundPorts: [9100],
  excludeOutboundCidrs: ['10.1.0.0/16', 'fd00::/8'],
  captureDns: false,
}

/** What iptables-save prints after `restore` was applied to empty tables. */
function applied(restore: string): string {
  const builtIn: Record<string, string[]> = {
    mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
    nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
    filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  }
  return restore
    .split('\n')
    .flatMap((line) => {
      const table = builtIn[line.slice(1)]
      return table === undefined ? [line] : [line, ...table.map((name) => `:${name} ACCEPT [0:0]`)]
    })
    .map((line) => line.replace(/^-I (\S+) 1 /, '-A $1 '))
    .join('\n')
}

t.test('the rules of an IPv4 pod, word by word', (t) => {
  t.equal(
    renderRules(SPEC).restore,
    `*nat
:WEIR_OUTPUT - [0:0]
:WEIR_PREROUTING - [0:0]
-A WEIR_OUTPUT -m mark --mark 0x539/0xfff -m comment --comment "weir: our own sockets" -j RETURN
-A WEIR_OUTPUT -m mark --mark 0x111/0xfff -m comment --comment "weir: our connections to the application" -j RETURN
-A WEIR_OUTPUT -o lo -m comment --comment "weir: the pod talking to itself" -j RETURN
-A WEIR_OUTPUT -d 10.1.0.0/16 -m comment --comment "weir: excluded by annotation" -j RETURN
-A WEIR_OUTPUT -p tcp -m tcp --dport 3306 -m comment --comment "weir: excluded by annotation" -j RETURN
-A WEIR_OUTPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment "weir: new connections go to the outbound listener" -j REDIRECT --to-ports 15001
-A WEIR_PREROUTING -i lo -m comment --comment "weir: the pod talking to itself" -j RETURN
-A WEIR_PREROUTING -p tcp -m tcp --dport 15008 -m comment --comment "weir: tunnels are dialled directly" -j RETURN
-A WEIR_PREROUTING -p tcp -m tcp --dport 9100 -m comment --comment "weir: excluded by annotation" -j RETURN
-A WEIR_PREROUTING -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m comment --comment "weir: new connections go to the inbound listener" -j REDIRECT --to-ports 15006
-I OUTPUT 1 -m comment --comment "weir: nat rules of the mesh" -j WEIR_OUTPUT
-I PREROUTING 1 -m comment --comment "weir: nat rules of the mesh" -j WEIR_PREROUTING
COMMIT
*filter
:WEIR_GUARD_OUTPUT - [0:0]
:WEIR_GUARD_INPUT - [0:0]
-A WEIR_GUARD_OUTPUT -m mark --mark 0x539/0xfff -m comment --comment "weir: our own sockets" -j RETURN
-A WEIR_GUARD_OUTPUT -m mark --mark 0x111/0xfff -m comment --comment "weir: our connections to the application" -j RETURN
-A WEIR_GUARD_OUTPUT -o lo -m comment --comment "weir: the pod talking to itself" -j RETURN
-A WEIR_GUARD_OUTPUT -d 10.1.0.0/16 -m comment --comment "weir: excluded by annotation" -j RETURN
-A WEIR_GUARD_OUTPUT -p tcp -m tcp --dport 3306 -m comment --comment "weir: excluded by annotation" -j RETURN
-A WEIR_GUARD_OUTPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack ! --ctstate DNAT -m comment --comment "weir: nothing new passes unredirected" -j DROP
-A WEIR_GUARD_INPUT -i lo -m comment --comment "weir: the pod talking to itself" -j RETURN
-A WEIR_GUARD_INPUT -p tcp -m tcp --dport 15008 -m comment --comment "weir: tunnels are dialled directly" -j RETURN
-A WEIR_GUARD_INPUT -p tcp -m tcp --dport 9100 -m comment --comment "weir: excluded by annotation" -j RETURN
-A WEIR_GUARD_INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack ! --ctstate DNAT -m comment --comment "weir: nothing new passes unredirected" -j DROP
-I OUTPUT 1 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment "weir: filter rules of the mesh" -j WEIR_GUARD_OUTPUT
-I INPUT 1 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment "weir: filter rules of the mesh" -j WEIR_GUARD_INPUT
COMMIT
`,
  )
  t.end()
})

t.test('an IPv6 pod gets the IPv6 exclusions only', (t) => {
  const { restore } = renderRules({ ...SPEC, family: 6 })
  t.match(restore, '-d fd00::/8')
  t.notMatch(restore, '10.1.0.0')
  t.end()
})

t.test('captured DNS is redirected before other connections, unless port 53 is excluded', (t) => {
  const { restore } = renderRules({ ...SPEC, captureDns: true })
  t.match(
    restore,
    `excluded by annotation" -j RETURN
-A WEIR_OUTPUT -p udp -m udp --dport 53 -m comment --comment "weir: queries go to the DNS listener" -j REDIRECT --to-ports 15053
-A WEIR_OUTPUT -p tcp -m tcp --dport 53 --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment "weir: queries go to the DNS listener" -j REDIRECT --to-ports 15053
-A WEIR_OUTPUT -p tcp -m tcp --tcp-flags`,
  )
  t.notMatch(renderRules({ ...SPEC, captureDns: true, excludeOutboundPorts: [53] }).restore, '15053')
  t.end()
})

t.test('rules that are in place differ in nothing', (t) => {
  t.same(findDifferences(desiredTables(SPEC), parseSaved(applied(renderRules(SPEC).restore))), [])
  t.end()
})

t.test('what was flushed, moved or added is named', (t) => {
  const text = applied(renderRules(SPEC).restore)
  const differences = (change: (text: string) => string) =>
    findDifferences(desiredTables(SPEC), parseSaved(change(text)))
  t.same(
    differences((s) => s.replace(/^-A (WEIR_OUTPUT|OUTPUT).* -j (WEIR_OUTPUT|REDIRECT.*15001)\n/gm, '')),
    ['nat jump from OUTPUT', 'nat chain WEIR_OUTPUT'],
  )
  t.same(
    differences((s) => s.replace('-A INPUT', '-A INPUT -j ACCEPT\n-A INPUT')),
    ['filter jump from INPUT'],
  )
  t.same(
    differences((s) => s.replace('-A WEIR_GUARD_INPUT', '-A WEIR_GUARD_INPUT -j ACCEPT\n-A WEIR_GUARD_INPUT')),
    ['filter chain WEIR_GUARD_INPUT'],
  )
  t.same(
    differences((s) => s.replace(/\*nat[\s\S]*?COMMIT\n/, '')),
    ['table nat'],
  )
  t.end()
})

t.test('an older edition is replaced: its jumps go, its chains are emptied or removed', (t) => {
  const saved = parseSaved(`*nat
:OUTPUT ACCEPT [0:0]
:WEIR_OLD - [0:0]
:WEIR_OUTPUT - [0:0]
-A OUTPUT -d 192.0.2.1/32 -j ACCEPT
-A OUTPUT -m comment --comment "an older word" -j WEIR_OUTPUT
-A WEIR_OUTPUT -j WEIR_OLD
COMMIT
`)
  const nat = desiredTables({ family: 4, ...NONE }).filter(({ table }) => table === 'nat')
  const text = renderApply(nat, saved)
  t.match(text, '-D OUTPUT -m comment --comment "an older word" -j WEIR_OUTPUT\n')
  t.match(text, ':WEIR_OLD - [0:0]\n')
  t.match(text, '-X WEIR_OLD\n')
  t.notMatch(text, '192.0.2.1')
  t.end()
})

t.test('removing names our chains and jumps, and nothing of others', (t) => {
  const text = `${applied(renderRules({ family: 4, ...NONE }).restore).replace('*filter\n', '*filter\n:KUBE - [0:0]\n')}`
  const withForeign = text.replace('-A INPUT ', '-A INPUT -j KUBE\n-A INPUT ')
  const removal = renderRemove(['filter'], parseSaved(withForeign))
  const lines = removal.split('\n')
  t.same(lines.filter((line) => line.startsWith('-D')).sort(), [
    '-D INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment "weir: filter rules of the mesh" -j WEIR_GUARD_INPUT',
    '-D OUTPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment "weir: filter rules of the mesh" -j WEIR_GUARD_OUTPUT',
  ])
  t.same(lines.filter((line) => /^-[FX]/.test(line)).sort(), [
    '-F WEIR_GUARD_INPUT',
    '-F WEIR_GUARD_OUTPUT',
    '-X WEIR_GUARD_INPUT',
    '-X WEIR_GUARD_OUTPUT',
  ])
  t.notMatch(removal, 'KUBE')
  t.equal(renderRemove(['nat'], parseSaved('')), '', 'nothing there, nothing to do')
  t.end()
})

t.test('only tables that are ours and empty are deleted', (t) => {
  const empty = '*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n'
  t.match(renderDeleteEmptied(4, [], parseSaved(empty)), 'delete table ip nat')
  t.match(renderDeleteEmptied(6, [], parseSaved(empty)), 'delete table ip6 nat')
  t.equal(renderDeleteEmptied(4, ['nat'], parseSaved(empty)), '', 'it was there before')
  t.equal(renderDeleteEmptied(4, [], parseSaved('*nat\n:OUTPUT DROP [0:0]\nCOMMIT\n')), '', 'it has a policy')
  t.equal(renderDeleteEmptied(4, [], parseSaved('*nat\n:X - [0:0]\nCOMMIT\n')), '', "it has somebody's chain")
  t.end()
})

t.test('a table that holds nothing but our rules does not count as there before us', (t) => {
  const ours = applied(renderRules({ family: 4, ...NONE }).restore)
  t.same(foreignTables(parseSaved(ours)), [])
  t.same(foreignTables(parseSaved(ours.replace('*nat\n', '*nat\n:KUBE - [0:0]\n'))), ['nat'])
  t.end()
})
