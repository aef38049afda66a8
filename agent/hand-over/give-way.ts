/** The end of an agent that another one follows: everything changes hands, and nothing stops meanwhile. */
import type { CniSide } from '../cni/cni-side.ts'
import type { Enroller } from '../enrol/enroller.ts'
import type { AgentLog } from '../log.ts'
import type { StateDir } from '../state-dir.ts'
import type { Successor } from './successor.ts'
import type { SuccessorDoor } from './successor-door.ts'

export interface LeavingAgent {
  readonly enroller: Pick<Enroller, 'stopRedirecting' | 'handOver'>
  readonly cni: Pick<CniSide, 'giveWay'>
  readonly admin: AsyncDisposable
  readonly door: Pick<SuccessorDoor, 'shut'>
  readonly stateDir: Pick<StateDir, 'release' | 'tryTake'>
  readonly log: Pick<AgentLog, 'info' | 'warn'>
}

/**
 * Proxies here go on accepting until the successor serves all pods; the sockets are the same.
 * @returns false when the pods are still this agent's to leave as it would without a successor
 */
export async function giveWayTo(
  successor: Pick<Successor, 'giveSockets' | 'giveWay'>,
  agent: LeavingAgent,
): Promise<boolean> {
  const { enroller, cni, admin, door, stateDir, log } = agent
  await cni.giveWay()
  await enroller.stopRedirecting(true)
  const pods = enroller.handOver()
  if (!(await successor.giveSockets(pods))) {
    log.warn({}, 'hand-over failed: the successor did not take the sockets')
    return false
  }
  // All that only one agent can have, the lock last.
  door.shut()
  await admin[Symbol.asyncDispose]()
  stateDir.release()
  const taken = await successor.giveWay()
  // It may be slow, or it has died with nobody in its place.
  const isOursAgain = !taken && stateDir.tryTake()
  if (taken) log.info({ pods: pods.length }, 'handed over')
  else log.warn({ pods: pods.length, isOursAgain }, 'hand-over failed: the successor did not serve the pods')
  return !isOursAgain
}
