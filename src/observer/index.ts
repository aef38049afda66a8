/** What the numbers of a node mean: rates, percentiles, what is wrong. Pure: told what was seen, it decides what that says. */
export type { Percentile } from './percentile.ts'
export type { EdgeRates, NamedRates, Rates, Traffic } from './traffic-rates.ts'
export { trafficBetween } from './traffic-rates.ts'
