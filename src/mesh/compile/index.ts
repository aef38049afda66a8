/** Kubernetes objects → the world of the mesh, the deltas between worlds, and the pods a node enrols. */

export type { CompiledWorld, CompileOptions, WorldObjects } from './compile-world.ts'
export { compileWorld, ROOT_NAMESPACE_DEFAULT } from './compile-world.ts'
export type { Condition, ObjectStatus, ParentConditions, PolicyStatus, RouteStatus } from './conditions.ts'
export { conditionsOf } from './conditions.ts'
export type { WorldDelta } from './diff-world.ts'
export { diffWorld } from './diff-world.ts'
export type { Enrolment, Enrolments } from './enrolments.ts'
export { enrolments } from './enrolments.ts'
export type { PeerAuthenticationSummary } from './peer-authentication.ts'
export { listPeerAuthentications } from './peer-authentication.ts'
export { checkReferences } from './references.ts'
