/**
 * Which proxies serve a pod: a hand of k out of n, by rendezvous hashing of the pod's uid. Two pods seldom
 * share their whole hand, so one that overloads its proxies leaves every other pod at least one (shuffle
 * sharding), and a change of n moves few pods.
 */
import { createHash } from 'node:crypto'

export const HAND_SIZE = 2

/** Ids (0 … proxyCount-1) in ascending order, `min(HAND_SIZE, proxyCount)` of them. */
export function dealHand(uid: string, proxyCount: number): readonly number[] {
  return Array.from({ length: proxyCount }, (_, id) => ({ id, score: score(uid, id) }))
    .sort((a, b) => (a.score < b.score ? 1 : a.score > b.score ? -1 : a.id - b.id))
    .slice(0, HAND_SIZE)
    .map(({ id }) => id)
    .sort((a, b) => a - b)
}

function score(uid: string, id: number): bigint {
  return createHash('sha256').update(`${id}/${uid}`).digest().readBigUInt64BE(0)
}
