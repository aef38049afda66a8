/** The world of the mesh: indexed, immutable snapshots, and the changes between them. */
export type { Destination } from './snapshot.ts'
export { Snapshot } from './snapshot.ts'
export type { WorldChange } from './world.ts'
export { compareRouteAge, World } from './world.ts'
