/**
 * What the agent answers to the plugin: whether the pod that starts is opted in, and once it is enrolled, or why it is
 * not. What the runtime tells reaches the mesh here.
 */
import { errorLine } from '#base'
import { type Enrolment, enrolments } from '#mesh/compile'
import type { EnrolmentStatus } from '../enrol/entry.ts'
import type { Attachments } from './attachments.ts'
import { podKey } from './overlay.ts'
import type { AttachmentKey, CniAttachment, CniReply } from './plugin-side.ts'
import type { FoundPod, PodFinder } from './pod-finder.ts'

/** The answers to the plugin's requests; none of them fails. */
export interface CniDecider {
  /** @param onOptedIn called once, as soon as it is known that the pod is, before it is enrolled */
  add(attachment: CniAttachment, onOptedIn: () => void): Promise<CniReply>
  check(attachment: CniAttachment): Promise<CniReply>
  end(key: AttachmentKey): void
  collect(network: string, valid: readonly AttachmentKey[]): void
}

export interface DeciderOptions {
  readonly node: string
  readonly attachments: Attachments
  readonly finder: Pick<PodFinder, 'find'>
  /** Compiles the world anew from the last objects, with the attachments laid over them, before it returns. */
  refresh(): void
  /** The pods to enrol, after the last refresh. */
  wishes(): readonly Enrolment[]
  /** `Enroller.settled`. */
  settled(uid: string, timeoutMs: number): Promise<Pick<EnrolmentStatus, 'state' | 'detail'>>
}

/** The plugin gives up after 20 s in all: this side shall say why before that. */
const SETTLE_TIMEOUT_MS = 14_000

export function createDecider(options: DeciderOptions): CniDecider {
  const { attachments, finder, node } = options

  const settle = async (attachment: CniAttachment): Promise<CniReply> => {
    const key = podKey(attachment.pod)
    const wish = options.wishes().find((candidate) => podKey(candidate) === key)
    if (wish === undefined) return failed(`it is not among the pods that node ${node} enrols; weir check tells why`)
    const { state, detail } = await options.settled(wish.uid, SETTLE_TIMEOUT_MS)
    if (state === 'enrolled') return { kind: 'enrolled' }
    return failed(detail === '' ? `its enrolment is ${state}` : detail)
  }

  const decide = async (attachment: CniAttachment, whenOptedIn: (found: FoundPod) => void): Promise<CniReply> => {
    const search = await finder.find(attachment.pod)
    if (search.kind === 'missing') return { kind: 'unknown', why: search.why }
    const { found } = search
    if (!isOptedIn(found, node)) {
      // Kept for the day when it opts in.
      attachments.add(attachment, found.pod, found.shown)
      return { kind: 'not-opted-in' }
    }
    const { nodeName } = found.pod.spec
    if (nodeName !== node)
      return failed(`its spec.nodeName is ${nodeName ?? 'empty'}, this agent serves ${node} (--node)`)
    whenOptedIn(found)
    return await settle(attachment)
  }

  const guarded = async (job: () => Promise<CniReply>): Promise<CniReply> => {
    try {
      return await job()
    } catch (thrown) {
      return failed(errorLine(thrown))
    }
  }

  return {
    add: (attachment, onOptedIn) =>
      guarded(() =>
        decide(attachment, ({ pod, shown }) => {
          onOptedIn()
          attachments.add(attachment, pod, shown)
          options.refresh()
        }),
      ),
    check: (attachment) => guarded(() => decide(attachment, () => undefined)),
    end: (key) => {
      if (attachments.end(key) !== undefined) options.refresh()
    },
    collect: (network, valid) => {
      if (attachments.endAllBut(network, valid).length > 0) options.refresh()
    },
  }
}

/** By the compiler's own rules; wherever the pod says that it runs. */
function isOptedIn({ pod, namespace }: FoundPod, node: string): boolean {
  const here = { ...pod, spec: { ...pod.spec, nodeName: node } }
  return enrolments(namespace === undefined ? [here] : [namespace, here], node).enrolments.length > 0
}

function failed(why: string): CniReply {
  return { kind: 'failed', why }
}
