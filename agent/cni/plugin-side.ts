/**
 * What agent and plugin have in common. It lies with the plugin, which has to stay small; everything of the agent takes it
 * from here.
 */
export { type PodIndex, renderPodIndex } from '../../cni/pod-index.ts'
export {
  type AttachmentKey,
  asRecord,
  type CniAttachment,
  type CniReply,
  type CniRequest,
  MAX_REQUEST_BYTES,
  type PodRef,
  parseRecord,
  parseRequest,
  renderLine,
} from '../../cni/protocol.ts'
