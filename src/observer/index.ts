/** What the numbers of a node mean: rates, percentiles, what is wrong. Pure: told what was seen, it decides what that says. */
export { diagnose } from './diagnose.ts'
export { COUNTED_FAMILIES, EdgeGrowth } from './edge-growth.ts'
export { fairShare, namespaceIn } from './fair-share.ts'
export { LookHistory, secondsOf } from './look-history.ts'
export type {
  EdgeSample,
  EmptyService,
  EndpointSample,
  NodeLook,
  NodeSample,
  PodSample,
  PolicyChange,
  ProxySample,
  WorldSample,
} from './node-look.ts'
export { type Percentile, percentile } from './percentile.ts'
export type { EdgeRates, EdgeTally, NamedRates, Rates, Traffic } from './traffic-rates.ts'
export { edgeNames, isTold, tallyEdges, trafficBetween } from './traffic-rates.ts'
