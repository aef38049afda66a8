/** DNS of the mesh's own names: messages in and out, and what a name means to a pod. */

export type { Resolution } from './mesh-names.ts'
export { resolveName } from './mesh-names.ts'
export type { Query } from './message.ts'
export {
  aliasRecord,
  isReplyTo,
  newQuery,
  readQuery,
  recordsOf,
  renameQuery,
  renderFailure,
  renderReply,
} from './message.ts'
export { nameServersFor } from './name-servers.ts'
