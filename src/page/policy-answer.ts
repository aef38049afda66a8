/** A policy of any kind as the page reads it: fields besides the name are of some kinds only. */
import type { PeerAuthenticationAnswer, PolicyAnswer, TrafficPolicyAnswer } from '#contract'

export interface AnyPolicyAnswer
  extends Pick<PolicyAnswer, 'namespace' | 'name'>,
    Partial<Pick<PolicyAnswer, 'action' | 'scope' | 'selector' | 'services' | 'rules' | 'invalid'>>,
    Partial<Pick<PeerAuthenticationAnswer, 'mode'>>,
    Partial<Pick<TrafficPolicyAnswer, 'says'>> {
  readonly kind: (PolicyAnswer | PeerAuthenticationAnswer | TrafficPolicyAnswer)['kind']
}
