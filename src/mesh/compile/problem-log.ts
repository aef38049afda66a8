/** Problems found while compiling, each told with its object's name and place. */
import { describeObject, type KubernetesObject, type Problem } from '#resources'

export class ProblemLog {
  readonly #problems: Problem[] = []

  /** `field` may be empty for what concerns the whole object. */
  add(object: KubernetesObject, field: string, message: string): void {
    this.#problems.push({
      ...object.origin,
      object: describeObject(object),
      ...(field === '' ? {} : { field }),
      message,
    })
  }

  /** What refuses nothing, and is hardly meant so. */
  warn(object: KubernetesObject, field: string, message: string): void {
    this.#problems.push({
      severity: 'warning',
      ...object.origin,
      object: describeObject(object),
      ...(field === '' ? {} : { field }),
      message,
    })
  }

  list(): readonly Problem[] {
    return this.#problems
  }
}
