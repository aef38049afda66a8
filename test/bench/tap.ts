/**
 * Case `tap`: what looking at live traffic costs, agent included. The same traffic while nobody looks, while somebody looks
 * for what does not come, and while somebody is shown as much as a tap shows.
 */
import { join } from 'node:path'
import { openLab } from '../support/lab.ts'
import { TapReader } from '../support/tap-reader.ts'
import { compare } from './compare.ts'
import type { BenchOptions, BenchRow } from './rows.ts'
import { contender } from './telemetry.ts'

const FLAGS = ['--access-log', 'off']

export async function tap(options: BenchOptions): Promise<BenchRow[]> {
  await using none = await openLab({ ipv6: false })
  await using idle = await openLab({ ipv6: false })
  await using busy = await openLab({ ipv6: false })
  const contenders = [
    await contender(none, 'weir', FLAGS),
    await contender(idle, 'nothing fits', FLAGS),
    await contender(busy, 'all fits', FLAGS),
  ]
  using looking = new TapReader(join(idle.node.stateDir, 'admin.sock'), 'method=PUT')
  using shown = new TapReader(join(busy.node.stateDir, 'admin.sock'), 'headers=true')
  await Promise.all([looking.live(), shown.live()])
  return await compare('tap', contenders, options)
}
