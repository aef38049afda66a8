/** What views are told, and how old it is. Absent: not asked for yet, or not answered. */
import type {
  AlertsAnswer,
  DiagnoseAnswer,
  PodAnswer,
  PodView,
  ProblemAnswer,
  RouteAnswer,
  StatusAnswer,
} from '#contract'
import type { Traffic } from '#observer'
import type { AnyPolicyAnswer } from './policy-answer.ts'

export interface Data {
  readonly nowMs: number
  readonly status?: StatusAnswer
  readonly diagnose?: DiagnoseAnswer
  readonly alerts?: AlertsAnswer
  readonly traffic?: Traffic
  readonly pod?: PodView
  readonly pods?: readonly PodAnswer[]
  readonly routes?: readonly RouteAnswer[]
  readonly policies?: readonly AnyPolicyAnswer[]
  readonly problems?: readonly ProblemAnswer[]
  /** Of the path that the view asked for, `Need` by `Need`. */
  readonly refusals: ReadonlyMap<Need, string>
}

export type Need = 'alerts' | 'pod' | 'status' | 'diagnose' | 'traffic' | 'pods' | 'routes' | 'policies' | 'problems'

export interface View {
  readonly title: string
  /** Asked again and again while it is shown. */
  readonly needs: readonly Need[]
  readonly element: HTMLElement
  /** What is asked for `pod`. */
  readonly podPath?: string
  update?(data: Data): void
  close?(): void
}
