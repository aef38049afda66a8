/**
 * Do the rules that pods get work on this machine: the very rules, routes, sysctls and sockets of an enrolment are made in
 * a namespace of nobody's and compared with what the kernel then holds.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errorLine } from '#base'
import { type CheckLine, CONNECTION_MARK, failureLine, okLine } from '#contract'
import { closeFd, openTcpSocket, setMark, setTransparent, withNetns } from '#linux'
import { type BackendName, programName } from '../iptables/backend.ts'
import { applyRules, type Exclusions, inspectPod, repairRules } from '../iptables/pod-rules.ts'
import { runInNetns, runOrThrow } from '../iptables/run-in-netns.ts'
import { openScratchNetns } from './scratch-netns.ts'

/** Every kind of rule there is. */
const ALL_RULES: Exclusions = {
  excludeOutboundPorts: [1],
  excludeInboundPorts: [1],
  excludeOutboundCidrs: ['192.0.2.0/24', '2001:db8::/32'],
  captureDns: true,
}

const MODULES = 'nf_nat, xt_REDIRECT, xt_mark, xt_addrtype, xt_conntrack, xt_comment'

export async function probeNetfilter(signal: AbortSignal): Promise<readonly CheckLine[]> {
  using netns = await openScratchNetns(signal)
  await runOrThrow(netns.fd, 'ip', ['link', 'set', 'lo', 'up'])
  const lockDir = mkdtempSync(join(tmpdir(), 'weir-doctor-'))
  try {
    const context = { netnsFd: netns.fd, lockDir }
    const { before, saved } = await inspectPod(context)
    const version = await versionOf(netns.fd, before.backend)
    return [
      ...(await rulesLines(async () => {
        await applyRules(context, before, ALL_RULES, saved)
        return await repairRules(context, before, ALL_RULES)
      }, version)),
      socketsLine(netns.fd, before.families),
      before.families.includes(6)
        ? okLine('IPv4 and IPv6')
        : okLine('IPv4 only: IPv6 is off on this node, and so it is in its pods'),
    ]
  } finally {
    rmSync(lockDir, { recursive: true, force: true })
  }
}

async function rulesLines(apply: () => Promise<readonly string[]>, version: string): Promise<readonly CheckLine[]> {
  const remedy = `has the kernel ${MODULES}? load them with modprobe (in a container, on its host)`
  try {
    const wrong = await apply()
    if (wrong.length === 0) return [okLine(`the mesh's rules work here: ${version}`)]
    return [failureLine(`the kernel does not keep the mesh's rules (${version}): ${wrong.join(', ')}`, remedy)]
  } catch (thrown) {
    return [failureLine(`the mesh's rules cannot be made here (${version}): ${errorLine(thrown)}`, remedy)]
  }
}

/** As the program says itself, e.g. `iptables v1.8.9 (nf_tables)`. */
async function versionOf(netnsFd: number, backend: BackendName): Promise<string> {
  const { stdout } = await runInNetns(netnsFd, programName(backend, 4, 'restore'), ['--version'])
  return stdout.trim() === '' ? backend : stdout.trim().replace('-restore', '')
}

function socketsLine(netnsFd: number, families: readonly (4 | 6)[]): CheckLine {
  try {
    for (const family of families) {
      const fd = withNetns(netnsFd, () => openTcpSocket(family))
      try {
        setMark(fd, CONNECTION_MARK)
        setTransparent(fd, family)
      } finally {
        closeFd(fd)
      }
    }
    return okLine('marked and transparent sockets')
  } catch (thrown) {
    return failureLine(
      `marked and transparent sockets cannot be made: ${errorLine(thrown)}`,
      'give the agent the capabilities NET_ADMIN and NET_RAW',
    )
  }
}
