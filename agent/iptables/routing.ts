/**
 * The policy route that keeps the application's answers to transparent connections inside the pod
 * (`ip rule` by mark to a table that delivers everything locally).
 */
import { WeirError } from '#base'
import { CONNECTION_MARK, MARK_MASK, ROUTE_TABLE, RULE_PREFERENCE } from '#contract'
import { findPolicyRoute, withNetns } from '#linux'
import { runInNetns } from './run-in-netns.ts'

const MARK = `0x${CONNECTION_MARK.toString(16)}/0x${MARK_MASK.toString(16)}`
const POLICY_ROUTE = { mark: CONNECTION_MARK, mask: MARK_MASK, preference: RULE_PREFERENCE, table: ROUTE_TABLE }
const RULE = `fwmark ${MARK} pref ${RULE_PREFERENCE} lookup ${ROUTE_TABLE}`
const everything = (family: 4 | 6) => (family === 4 ? '0.0.0.0/0' : '::/0')

/** Adds rule and route, unless both are there already. */
export async function addPolicyRoute(netnsFd: number, family: 4 | 6): Promise<void> {
  if (findMissingRoute(netnsFd, family).length === 0) return
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
export function findMissingRoute(netnsFd: number, family: 4 | 6): string[] {
  const { rule, route } = withNetns(netnsFd, () => findPolicyRoute(family, POLICY_ROUTE))
  return [...(rule ? [] : ['ip rule']), ...(route ? [] : ['local route'])]
}
