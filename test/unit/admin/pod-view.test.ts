import t from 'tap'
import type { PodView } from '#contract'
import { answerPath } from '../../../agent/admin/paths.ts'
import { FakeBackend } from './fake-backend.ts'

async function view(backend: FakeBackend, path: string): Promise<PodView> {
  const { status, body } = await answerPath(backend, path, new URLSearchParams())
  if (status !== 200) throw new Error(`${path}: ${status} ${body}`)
  return JSON.parse(body)
}

function pod(backend: FakeBackend, name: string, changes: object = {}) {
  const [known] = backend.podList
  if (known === undefined) throw new Error('no pod to begin with')
  backend.podList.push({ ...known, name, uid: `uid-${name}`, serviceAccount: name.replace(/-\d+$/, ''), ...changes })
}

t.test('a pod is told with its identity, what applies to it, and the rules of the kernel', async (t) => {
  const backend = new FakeBackend()
  backend.peerAuthenticationList = [
    {
      namespace: 'shop',
      name: 'strict',
      scope: 'namespace',
      selector: {},
      mode: 'STRICT',
      ports: { 9090: 'PERMISSIVE' },
      pods: ['shop/web-1'],
    },
    {
      namespace: 'shop',
      name: 'of-others',
      scope: 'workload',
      selector: {},
      mode: 'DISABLE',
      ports: {},
      pods: ['shop/x'],
    },
  ]
  t.match(await view(backend, '/pods/shop/web-1'), {
    namespace: 'shop',
    name: 'web-1',
    here: true,
    ready: true,
    state: 'enrolled',
    labels: { app: 'web' },
    connections: 3,
    identity: { spiffeId: 'spiffe://cluster.local/ns/shop/sa/web', state: 'valid', serial: 'AB12' },
    services: [],
    routes: [],
    policies: [
      { kind: 'AuthorizationPolicy', name: 'shop/only-web', says: 'ALLOW, 1 rule' },
      { kind: 'PeerAuthentication', name: 'shop/strict', says: 'STRICT, 9090: PERMISSIVE' },
    ],
    rules: [{ family: 4, text: /WEIR_OUTPUT/ }],
    rulesProblem: '',
  })
})

t.test(
  'an endpoint is told with its Services; who is not enrolled here has no rules and perhaps no certificate',
  async (t) => {
    const backend = new FakeBackend()
    pod(backend, 'reviews-v1-1', { node: 'node-2', state: 'outside' })
    const found = await view(backend, '/pods/shop/reviews-v1-1')
    t.match(found, {
      here: false,
      services: ['shop/headless', 'shop/reviews-v1'],
      identity: { state: 'none', notAfterMs: 0 },
      rules: [],
      rulesProblem: 'the pod is not enrolled on this node',
    })
    backend.kernelRules = () => Promise.reject(new Error('iptables-save failed'))
    t.equal((await view(backend, '/pods/shop/reviews-v1-1')).rulesProblem, 'iptables-save failed')
  },
)

t.test('who is not known is told so', async (t) => {
  const backend = new FakeBackend()
  for (const path of ['/pods/shop/nobody', '/pods/other/web-1', '/pods/shop/constructor']) {
    const { status, body } = await answerPath(backend, path, new URLSearchParams())
    t.match([status, body], [404, /No pod .*; weir pods --all/])
  }
  const { status } = await answerPath(backend, '/pods/shop/web-1/more', new URLSearchParams())
  t.equal(status, 404)
})
