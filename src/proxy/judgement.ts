/**
 * What policy says of a request, or of a connection, whose target is known: by the kubelet's right to ask, quarantine,
 * PeerAuthentication and the policies of the destination pod. Judged here when that is a pod of this node.
 */
import { REFUSAL, type ServerName, type Verdict, type Workload } from '#contract'
import type { Snapshot } from '#mesh'
import { authorize, plainDenial, probeVerdict, quarantineDenial } from '#policy'
import { forwardedFacts } from '#routing'
import type { ExchangeTarget } from './exchange-target.ts'
import { type HttpChoice, type HttpExchange, refused } from './http-exchange.ts'
import type { Pipeline, TcpChoice } from './pipeline.ts'
import type { Targets } from './targets.ts'

/** What policy says of a request (or, without one, of a connection) to a pod of this node. */
export type Judge = (judged: Judged, http: HttpExchange | undefined, sni?: ServerName) => Verdict
type Judged = Pick<ExchangeTarget, 'policies' | 'workload' | 'connection' | 'decision' | 'quarantine'>

/** By quarantine, then by the policies of the destination: the source's identity is in the target. */
export const byPolicy: Judge = (target, http, sni) => {
  const { policies, quarantine } = target
  if (quarantine !== undefined) return quarantine
  if (policies === undefined || policies.empty) return NOTHING_TO_JUDGE
  const connection = sni === undefined ? target.connection : { ...target.connection, sni }
  return authorize(policies, connection, http && forwardedFacts(target.decision, http))
}

const NOTHING_TO_JUDGE: Verdict = Object.freeze({ kind: 'allow', reason: 'No policy applies here' })

/** Without an identity: the kubelet's probes pass, then quarantine and PeerAuthentication have a word, then policy. */
export const plain: Judge = (target, http, sni) => {
  const { workload, connection } = target
  if (workload === undefined) return byPolicy(target, http, sni)
  const { sourceIp, destinationPort } = connection
  return (
    probeVerdict(workload, sourceIp, destinationPort, http) ??
    target.quarantine ??
    plainDenial(workload, destinationPort) ??
    byPolicy(target, http, sni)
  )
}

export function judgeRequest(judge: Judge, target: ExchangeTarget, exchange: HttpExchange): HttpChoice {
  const verdict = judge(target, exchange)
  if (verdict !== NOTHING_TO_JUDGE) exchange.verdict = verdict
  if (verdict.kind === 'allow') return target
  return refused(verdict.malformedPath === true ? REFUSAL.malformed : REFUSAL.denied, verdict.reason, target)
}

/** As `judgeRequest`, of a connection that is relayed; its verdict is that of the pipeline. */
export function judgeConnection(
  judge: Judge,
  target: ExchangeTarget,
  pipeline: Pick<Pipeline, 'verdict' | 'sni'>,
): TcpChoice {
  const verdict = judge(target, undefined, pipeline.sni)
  pipeline.verdict = verdict
  if (verdict.kind === 'deny') return { kind: 'refuse', flag: 'RBAC', target, why: verdict.reason }
  return target
}

export function workloadNow(snapshot: Snapshot, { workload }: ExchangeTarget): Workload | undefined {
  return workload && snapshot.workload(`${workload.namespace}/${workload.name}`)
}

/** What it is like at present. */
interface JudgedWorld {
  readonly snapshot: Snapshot
  readonly targets: Pick<Targets, 'policiesOf'>
}

/** Judges what is in progress by the present snapshot. */
export function denialNow(
  { snapshot, targets }: JudgedWorld,
  judge: Judge,
  target: ExchangeTarget | undefined,
  http: HttpExchange | undefined,
  sni?: ServerName,
): Verdict | undefined {
  if (target?.policies === undefined || target.workload === undefined) return undefined
  const { connection, decision } = target
  const workload = workloadNow(snapshot, target) ?? target.workload
  const policies = targets.policiesOf(workload)
  const quarantine = quarantineDenial(workload, connection.sourceIp)
  const verdict = judge({ policies, workload, connection, decision, quarantine }, http, sni)
  return verdict.kind === 'deny' ? verdict : undefined
}
