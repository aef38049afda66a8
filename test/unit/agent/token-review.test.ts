import t from 'tap'
import { KubernetesError } from '#kubernetes'
import { TokenReviews } from '../../../agent/ca/token-review.ts'

const AGENT = 'system:serviceaccount:weir-system:weir-agent'
const NODE_NAME = 'authentication.kubernetes.io/node-name'
const POD_NAME = 'authentication.kubernetes.io/pod-name'
const POD_UID = 'authentication.kubernetes.io/pod-uid'

interface Review {
  readonly authenticated?: unknown
  readonly audiences?: unknown
  readonly user?: unknown
}

const good: Review = {
  authenticated: true,
  audiences: ['weir-ca'],
  user: { username: AGENT, extra: { [NODE_NAME]: ['node-a'] } },
}

function setUp(status: Review | Error | undefined, pod: unknown = {}) {
  const asked: { method: string; path: string; body: unknown }[] = []
  let nowMs = 0
  const reviews = new TokenReviews({
    api: {
      request: async (method, path, options) => {
        asked.push({ method, path, body: options?.body })
        if (method === 'GET') return pod
        if (status instanceof Error) throw status
        return status === undefined ? undefined : { kind: 'TokenReview', status }
      },
    },
    audience: 'weir-ca',
    agentAccount: 'weir-system/weir-agent',
    now: () => nowMs,
  })
  const pass = (ms: number) => {
    nowMs += ms
  }
  return { reviews, asked, pass }
}

t.test('the token of an agent proves its node, and is reviewed for our audience', async (t) => {
  const { reviews, asked, pass } = setUp(good)
  t.same(await reviews.prove('T0ken'), { kind: 'node', node: 'node-a' })
  t.match(asked, [
    {
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/tokenreviews',
      body: { kind: 'TokenReview', spec: { token: 'T0ken', audiences: ['weir-ca'] } },
    },
  ])
  await reviews.prove('T0ken')
  t.equal(asked.length, 1, 'a token that was just reviewed is remembered')
  await reviews.prove('another')
  t.equal(asked.length, 2)
  pass(10_000)
  await reviews.prove('T0ken')
  t.equal(asked.length, 3, 'but not for long')
})

t.test('a token of an older cluster leads to its node by its pod', async (t) => {
  const user = { username: AGENT, extra: { [POD_NAME]: ['weir-x'], [POD_UID]: ['u-1'] } }
  const pod = { metadata: { uid: 'u-1' }, spec: { nodeName: 'node-b' } }
  const { reviews, asked } = setUp({ ...good, user }, pod)
  t.same(await reviews.prove('T'), { kind: 'node', node: 'node-b' })
  t.equal(asked[1]?.path, '/api/v1/namespaces/weir-system/pods/weir-x')
  for (const other of [{ ...pod, metadata: { uid: 'u-2' } }, { metadata: { uid: 'u-1' }, spec: {} }, undefined]) {
    t.match(await setUp({ ...good, user }, other).reviews.prove('T'), { kind: 'nobody', why: /runs on no node/ })
  }
})

t.test('any other token proves nothing, and the reason is told', async (t) => {
  const cases: readonly [Review | undefined, RegExp][] = [
    [undefined, /does not know the token/],
    [{}, /does not know the token/],
    [{ ...good, authenticated: 'true' }, /does not know the token/],
    [{ ...good, audiences: [] }, /not for weir-ca/],
    [{ ...good, audiences: undefined }, /not for weir-ca/],
    [{ ...good, audiences: ['api'] }, /not for weir-ca/],
    [
      { ...good, user: { ...(good.user as object), username: 'system:serviceaccount:shop:web' } },
      /of .*shop:web, not of/,
    ],
    [{ ...good, user: { ...(good.user as object), username: 'admin' } }, /of admin, not of weir-system\/weir-agent/],
    [{ ...good, user: undefined }, /of nobody/],
    [{ ...good, user: { username: AGENT } }, /not bound to a pod/],
    [{ ...good, user: { username: AGENT, extra: { [POD_NAME]: ['weir-x'] } } }, /not bound to a pod/],
  ]
  for (const [status, why] of cases) {
    const { reviews, asked } = setUp(status)
    t.match(await reviews.prove('T'), { kind: 'nobody', why })
    await reviews.prove('T')
    t.equal(asked.length, 2, 'what was refused is reviewed again')
  }
  const { reviews, asked } = setUp(good)
  t.match(await reviews.prove('x'.repeat(20_000)), { kind: 'nobody', why: /too long/ })
  t.equal(asked.length, 0)
})

t.test('an API server that does not answer leaves it open', async (t) => {
  const forbidden = new KubernetesError({ status: 403, reason: 'Forbidden', message: 'no' })
  t.match(await setUp(forbidden).reviews.prove('T'), { kind: 'unknown', why: /may not create tokenreviews/ })
  t.match(await setUp(new Error('gone')).reviews.prove('T'), { kind: 'unknown', why: /cannot be asked.*gone/ })
})
