/** The world of the mesh: indexed, immutable snapshots and the changes between them. `#mesh/compile` makes it from objects. */
export type { Destination } from './snapshot.ts'
export { Snapshot } from './snapshot.ts'
export type { WorldChange } from './world.ts'
export { World } from './world.ts'
