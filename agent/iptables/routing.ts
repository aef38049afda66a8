/**
 * The policy route that keeps the application's answers to transparent connections inside the pod
 * (`ip rule` by mark to a table that delivers everything locally).
 */
import { WeirError } from '#base'
import { CONNECTION_MARK, MARK_MASK, ROUTE_TABLE, RULE_PREFERENCE } from '#contract'
import { runInNetns, runOrThrow } from './run-in-netns.ts'

const MARK = `0x${CONNECTION_MARK.toString(16)}/0x${MARK_MASK.toString(16)}`
const RULE = `fwmark ${MARK} pref ${RULE_PREFERENCE} lookup ${ROUTE_TABLE}`
const everything = (family: 4 | 6) => (family === 4 ? '0.0.0.0/0' : '::/0')

/** Adds rule and route; both may be there already. */
export async function addPolicyRoute(netnsFd: number, family: 4 | 6): Promise<void> {
  const stdin = `route replace local ${everything(family)} dev lo table ${ROUTE_TABLE}\nrule add ${RULE}\n`
  const { status, stderr } = await runInNetns(netnsFd, 'ip', [`-${family}`, '-batch', '-'], { stdin })
  if (status !== 0 && !/File exists/.test(stderr)) {
    throw new WeirError(
      'WEIR_AGENT_ROUTE',
      `Cannot add the policy route for IPv${family}: ${stderr.trim().replaceAll('\n', '; ')}`,
    )
  }
}

/** Takes both out; what is gone already is no error. */
export async function removePolicyRoute(netnsFd: number, family: 4 | 6): Promise<void> {
  const stdin = `rule del ${RULE}\nroute del local ${everything(family)} dev lo table ${ROUTE_TABLE}\n`
  await runInNetns(netnsFd, 'ip', [`-${family}`, '-force', '-batch', '-'], { stdin })
}

/** What is missing of it, in words. */
export async function findMissingRoute(netnsFd: number, family: 4 | 6): Promise<string[]> {
  const [rules, routes] = await Promise.all([
    runOrThrow(netnsFd, 'ip', [`-${family}`, 'rule', 'show', 'pref', String(RULE_PREFERENCE)]),
    // A table that never had a route is an error to `ip`; it says the same as an empty one.
    runInNetns(netnsFd, 'ip', [`-${family}`, 'route', 'show', 'table', String(ROUTE_TABLE)]),
  ])
  const out: string[] = []
  if (!rules.includes(`fwmark ${MARK} lookup ${ROUTE_TABLE}`)) out.push('ip rule')
  if (!/^local (default|0\.0\.0\.0\/0|::\/0) dev lo/m.test(routes.stdout)) out.push('local route')
  return out
}
