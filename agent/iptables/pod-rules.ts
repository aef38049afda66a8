/**
 * The rules of one pod: applied, compared with the kernel, repaired and removed in two steps.
 * Not safe against itself: callers run one operation per pod at a time.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DNS_PORT } from '#contract'
import { netnsInode } from '#linux'
import { type BackendName, detectBackend, familiesOf, isInstalled, programName } from './backend.ts'
import {
  findMarkSysctlsOff,
  type MarkSysctls,
  readMarkSysctls,
  setMarkSysctls,
  turnOnMarkSysctls,
} from './mark-sysctls.ts'
import { addPolicyRoute, findMissingRoute, removePolicyRoute } from './routing.ts'
import { desiredTables, type RuleSpec, type TableName, type TableRules } from './rules.ts'
import { missingProgram, runInNetns, runOrThrow } from './run-in-netns.ts'
import { foreignTables, hasOurChains, parseSaved, type SavedTables, type TablesBefore } from './saved.ts'
import { findDifferences, renderApply, renderDeleteEmptied, renderRemove, renderUnhook } from './transaction.ts'

export type Exclusions = Omit<RuleSpec, 'family'>

/** What must be remembered to leave no trace, across restarts of the agent too. JSON. */
export interface RulesBefore {
  readonly backend: BackendName
  readonly families: readonly (4 | 6)[]
  /** Per family (`4`, `6`) the tables that existed before us. */
  readonly tables: Readonly<Record<string, TablesBefore>>
  readonly sysctls: MarkSysctls
}

export interface RulesContext {
  readonly netnsFd: number
  /** Lock files live here, one per namespace, so that the node's own xtables lock is never waited for. */
  readonly lockDir: string
}

export type SavedByFamily = ReadonlyMap<4 | 6, SavedTables>

export interface Inspection {
  readonly before: RulesBefore
  /** Chains of ours are there: an earlier agent was at work and did not clear up (or was told to keep them). */
  readonly hasRemains: boolean
  /** What the kernel holds, per family: good for an `applyRules` right afterwards. */
  readonly saved: SavedByFamily
}

/** Looks at a pod before anything is changed in it. @throws WeirError when a program is missing */
export async function inspectPod(context: RulesContext): Promise<Inspection> {
  const backend = await detectBackend(context.netnsFd)
  const families = familiesOf(context.netnsFd)
  for (const family of families) {
    const program = programName(backend, family, 'restore')
    if (!isInstalled(program)) throw missingProgram(program)
  }
  const saved = await Promise.all(families.map((family) => save(context, backend, family)))
  const tables = families.map((family, i) => [String(family), foreignTables(saved[i] ?? new Map())] as const)
  return {
    before: {
      backend,
      families,
      tables: Object.fromEntries(tables),
      sysctls: readMarkSysctls(context.netnsFd),
    },
    saved: new Map(families.map((family, i) => [family, saved[i] ?? new Map()])),
    hasRemains: saved.some((tables) => [...tables.values()].some(hasOurChains)),
  }
}

/**
 * Puts the rules in, replacing any edition of ours that is there, each table in one step. The policy
 * route goes in before the redirects that need it. `known` saves asking the kernel again.
 */
export async function applyRules(
  context: RulesContext,
  before: RulesBefore,
  exclusions: Exclusions,
  known?: SavedByFamily,
): Promise<void> {
  turnOnMarkSysctls(context.netnsFd)
  await Promise.all(
    before.families.map(async (family) => {
      const [saved] = await Promise.all([
        known?.get(family) ?? save(context, before.backend, family),
        addPolicyRoute(context.netnsFd, family),
      ])
      const desired = desiredTables({ family, ...exclusions })
      if (findDifferences(desired, saved).length > 0)
        await restore(context, before.backend, family, renderApply(desired, saved))
    }),
  )
}

/** Compares the kernel with what should be and puts right what is not. Returns what was wrong, in words. */
export async function repairRules(
  context: RulesContext,
  before: RulesBefore,
  exclusions: Exclusions,
): Promise<string[]> {
  const found = await Promise.all(
    before.families.map(async (family) => {
      const saved = await save(context, before.backend, family)
      const missingRoute = findMissingRoute(context.netnsFd, family)
      const desired = desiredTables({ family, ...exclusions })
      const wrong = desired.filter((table) => findDifferences([table], saved).length > 0)
      if (missingRoute.length > 0) await addPolicyRoute(context.netnsFd, family)
      if (wrong.length > 0) await restore(context, before.backend, family, renderApply(wrong, saved))
      return [...findDifferences(wrong, saved), ...missingRoute].map((what) => `IPv${family} ${what}`)
    }),
  )
  const off = findMarkSysctlsOff(context.netnsFd)
  if (off.length > 0) turnOnMarkSysctls(context.netnsFd)
  return [...found.flat(), ...off.map((name) => `sysctl ${name}`)]
}

/**
 * Step one of leaving: guard and redirects go, new connections are direct. Connections through the proxy
 * live on, because connection tracking, its translations and the policy route stay. The kernel tracks connections
 * in a namespace only while some rule asks for it, and translates nothing then: the guard's chains, which do, are
 * left in place with nothing that leads to them.
 */
export async function removeRedirects(context: RulesContext, before: RulesBefore): Promise<void> {
  await Promise.all(
    before.families.map(async (family) => {
      const saved = await save(context, before.backend, family)
      const input = renderUnhook('filter', saved) + renderRemove(['nat'], saved)
      if (input !== '') await restore(context, before.backend, family, input)
      await forgetRedirectedQueries(context, family)
    }),
  )
}

/**
 * The proxies end, and the pod stays cut off without them: nothing is redirected any more, and the kernel lets pass what
 * quarantine does. `applyRules` undoes it.
 */
export async function leaveInQuarantine(
  context: RulesContext,
  before: RulesBefore,
  exclusions: Exclusions,
): Promise<void> {
  const { quarantine } = exclusions
  if (quarantine === undefined) throw new Error('The pod is not in quarantine')
  await Promise.all(
    before.families.map(async (family) => {
      const saved = await save(context, before.backend, family)
      const desired = desiredTables({ family, ...exclusions, quarantine: { ...quarantine, alone: true } })
      await restore(context, before.backend, family, renderApply(desired, saved) + renderRemove(['nat'], saved))
    }),
  )
}

/**
 * The kernel remembers redirected DNS queries for a while: one from the same port would still go where nobody listens.
 * Without conntrack(8) the client asks again, from another port.
 */
async function forgetRedirectedQueries({ netnsFd }: RulesContext, family: 4 | 6): Promise<void> {
  if (!isInstalled('conntrack')) return
  // Ends with 1 when there is nothing to delete.
  await runInNetns(netnsFd, 'conntrack', [
    '-f',
    `ipv${family}`,
    '-D',
    '-p',
    'udp',
    '--reply-port-src',
    String(DNS_PORT),
  ])
}

/** Step two, when the last proxied connection has ended: everything else, and tables that are there only because of us. */
export async function removeTraces(context: RulesContext, before: RulesBefore): Promise<void> {
  await removeTables(context, before, ['filter', 'nat'])
  setMarkSysctls(context.netnsFd, before.sysctls)
  await Promise.all(
    before.families.map(async (family) => {
      await removePolicyRoute(context.netnsFd, family)
      if (before.backend === 'legacy' || !isInstalled('nft')) return
      const saved = await save(context, before.backend, family)
      const stdin = renderDeleteEmptied(family, before.tables[String(family)] ?? [], saved)
      if (stdin !== '') await runInNetns(context.netnsFd, 'nft', ['-f', '-'], { stdin })
    }),
  )
}

async function removeTables(context: RulesContext, before: RulesBefore, tables: readonly TableName[]): Promise<void> {
  await Promise.all(
    before.families.map(async (family) => {
      const input = renderRemove(tables, await save(context, before.backend, family))
      if (input !== '') await restore(context, before.backend, family, input)
    }),
  )
}

const MAX_SHOWN_CHARS = 256 << 10

/** What the kernel has in the pod, ours and others', as text for people. */
export async function readRules(
  context: RulesContext,
  { backend, families }: RulesBefore,
): Promise<readonly { readonly family: 4 | 6; readonly text: string }[]> {
  const env = lockEnvironment(context)
  return await Promise.all(
    families.map(async (family) => {
      const saved = await runOrThrow(context.netnsFd, programName(backend, family, 'save'), [], { env })
      const lines = saved.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
      const text = lines.join('\n')
      return { family, text: text.length <= MAX_SHOWN_CHARS ? text : `${text.slice(0, MAX_SHOWN_CHARS)}\n… and more` }
    }),
  )
}

async function save(context: RulesContext, backend: BackendName, family: 4 | 6): Promise<SavedTables> {
  const env = lockEnvironment(context)
  return parseSaved(await runOrThrow(context.netnsFd, programName(backend, family, 'save'), [], { env }))
}

async function restore(context: RulesContext, backend: BackendName, family: 4 | 6, stdin: string): Promise<void> {
  const env = lockEnvironment(context)
  await runOrThrow(context.netnsFd, programName(backend, family, 'restore'), ['--noflush', '--wait'], { stdin, env })
}

function lockEnvironment({ netnsFd, lockDir }: RulesContext): Record<string, string> {
  mkdirSync(lockDir, { recursive: true, mode: 0o700 })
  return { XTABLES_LOCKFILE: join(lockDir, String(netnsInode(netnsFd))) }
}

/** The input for a pod that has no rules yet, for reading and for tests. */
export function renderRules(spec: RuleSpec): { readonly restore: string; readonly tables: readonly TableRules[] } {
  const tables = desiredTables(spec)
  return { restore: renderApply(tables, new Map()), tables }
}
