/** What the kernel has in a pod, for whoever looks. Each reading starts programs: one at a time, and not again within seconds. */
import { Semaphore } from '#base'
import { readRules } from '../iptables/pod-rules.ts'
import type { EnrolledPod } from './enrolled-pod.ts'

type KernelRules = Awaited<ReturnType<typeof readRules>>

const FRESH_MS = 2_000

export class RulesReader {
  readonly #slot = new Semaphore(1)
  #last:
    | { readonly pod: EnrolledPod; readonly atMs: number; readonly rules: Promise<KernelRules | undefined> }
    | undefined

  /** Undefined where the pod has been let go. */
  async read(pod: EnrolledPod): Promise<KernelRules | undefined> {
    if (pod.closed) return undefined
    if (this.#last?.pod === pod && Date.now() - this.#last.atMs < FRESH_MS) return await this.#last.rules
    const rules = this.#slot.run(async () => (pod.closed ? undefined : await readRules(pod.context, pod.before)))
    this.#last = { pod, atMs: Date.now(), rules }
    return await rules
  }
}
