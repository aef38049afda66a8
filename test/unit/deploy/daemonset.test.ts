import { writeFileSync } from 'node:fs'
import t from 'tap'
import { parseCaArguments } from '../../../agent/ca/config.ts'
import { parseAgentArguments } from '../../../agent/config.ts'
import { followedFor } from '../../../src/discovery/kubernetes/followed.ts'
import { at, list, type Manifest, objectsIn, readManifests, text, typeErrors } from './manifests.ts'

const manifests = readManifests()
const of = (kind: string, name: string): Manifest => {
  const found = manifests.find((one) => one.kind === kind && one.metadata.name === name)
  if (found === undefined) throw new Error(`daemonset.yaml has no ${kind} ${name}`)
  return found
}
const names = (kind: string) => manifests.filter((one) => one.kind === kind).map(({ metadata }) => metadata.name)
const daemonSet = of('DaemonSet', 'weir-agent')
const deployment = of('Deployment', 'weir-ca')
const workloads = [daemonSet, deployment]
const container = (workload: Manifest) => at(workload, 'spec.template.spec.containers[0]')

t.test('every document fits the types of the Kubernetes API, without a field that those do not know', async (t) => {
  t.same(typeErrors(t.testdir({}), manifests, writeFileSync), [])
})

t.test('a misspelt, a missing and a wrong field of a copy are found by name', async (t) => {
  const broken = JSON.parse(JSON.stringify(daemonSet).replace('"readOnlyRootFilesystem"', '"readonlyRootFilesystem"'))
  const { spec: _, ...withoutSpec } = of('CustomResourceDefinition', 'peerauthentications.weir.dev')
  const wrong = { ...deployment, spec: { ...(at(deployment, 'spec') as object), replicas: 'two' } }
  const found = typeErrors(t.testdir({}), [broken, withoutSpec as Manifest, wrong], writeFileSync)
  t.match(found, [
    /^DaemonSet weir-agent: .*readonlyRootFilesystem/,
    /^CustomResourceDefinition .*spec/,
    /^Deployment weir-ca: .*string.*number/,
  ])
})

t.test('what a document names is in the file', async (t) => {
  const madeByTheCa = ['weir-ca']
  for (const workload of workloads) {
    const { name } = workload.metadata
    const spec = at(workload, 'spec.template.spec')
    t.ok(names('ServiceAccount').includes(text(spec, 'serviceAccountName')), `${name}: its service account`)
    t.match(at(workload, 'spec.template.metadata.labels'), at(workload, 'spec.selector.matchLabels'))
    const volumes = list(spec, 'volumes').map((volume) => text(volume, 'name'))
    const mounts = list(container(workload), 'volumeMounts').map((mount) => text(mount, 'name'))
    t.same([...volumes].sort(), [...mounts].sort(), `${name}: every volume is mounted, every mount is a volume`)
    for (const [path, object] of objectsIn(spec)) {
      for (const field of ['configMapRef', 'configMap']) {
        if (!(field in object) || at(object, `${field}.optional`) === true) continue
        const wanted = text(object, `${field}.name`)
        t.ok([...names('ConfigMap'), ...madeByTheCa].includes(wanted), `${name}: ${path}.${field} ${wanted}`)
      }
    }
  }
  for (const binding of manifests.filter(({ kind }) => kind.endsWith('RoleBinding'))) {
    t.ok(
      names(text(binding, 'roleRef.kind')).includes(text(binding, 'roleRef.name')),
      `${binding.metadata.name}: its role`,
    )
    for (const subject of list(binding, 'subjects')) {
      t.ok(names(text(subject, 'kind')).includes(text(subject, 'name')), `${binding.metadata.name}: its subject`)
    }
  }
  const labels = workloads.map((workload) => at(workload, 'spec.template.metadata.labels'))
  const selectors = [
    at(of('Service', 'weir-ca'), 'spec.selector'),
    at(of('PodDisruptionBudget', 'weir-ca'), 'spec.selector.matchLabels'),
    ...manifests.filter(({ kind }) => kind === 'NetworkPolicy').map((one) => at(one, 'spec.podSelector.matchLabels')),
  ]
  for (const selector of selectors) {
    const wanted = Object.entries(selector as object)
    const chosen = labels.filter((one) =>
      wanted.every(([key, value]) => (one as Record<string, unknown>)[key] === value),
    )
    t.equal(chosen.length, 1, `${JSON.stringify(selector)} chooses one of the workloads`)
  }
})

t.test('probes and services name a port of the container, and that is where it listens', async (t) => {
  for (const workload of workloads) {
    const spec = container(workload)
    const ports = new Map(list(spec, 'ports').map((port) => [text(port, 'name'), text(port, 'containerPort')]))
    const args = list(spec, 'args').join(' ')
    for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
      const port = text(spec, `${probe}.httpGet.port`) || text(spec, `${probe}.tcpSocket.port`)
      t.ok(ports.has(port), `${workload.metadata.name}: ${probe} asks port ${port}`)
      t.match(args, new RegExp(`--(admin|listen)=0\\.0\\.0\\.0:${ports.get(port)}( |$)`))
    }
  }
  const target = text(of('Service', 'weir-ca'), 'spec.ports[0].targetPort')
  t.ok(list(container(deployment), 'ports').some((port) => text(port, 'name') === target))
  t.match(list(container(daemonSet), 'args'), [/^agent$/])
  const address = `weir-ca.weir-system.svc:${text(of('Service', 'weir-ca'), 'spec.ports[0].port')}`
  t.ok(list(container(daemonSet), 'args').includes(`--ca=${address}`))
})

t.test('agent and CA understand the arguments that they are given', async (t) => {
  const settings = at(of('ConfigMap', 'weir'), 'data') as Readonly<Record<string, string>>
  const argumentsOf = (workload: Manifest) =>
    list(container(workload), 'args').map((argument) =>
      String(argument).replace(/\$\((\w+)\)/g, (_, name: string) =>
        name === 'NODE_NAME' ? 'node-1' : (settings[name] ?? ''),
      ),
    )
  const [, ...agentArguments] = argumentsOf(daemonSet)
  const agent = parseAgentArguments(agentArguments)
  t.same(agent.kind === 'errors' ? agent.errors : [], [])
  t.match(agent, {
    kind: 'config',
    config: { node: 'node-1', admin: '0.0.0.0:15000', trustDomain: 'cluster.local' },
  })
  const [, ...caArguments] = argumentsOf(deployment)
  const ca = parseCaArguments(caArguments)
  t.same(ca.kind === 'errors' ? ca.errors : [], [])
  t.match(ca, {
    kind: 'config',
    config: { port: 15012, trustDomain: 'cluster.local', nodes: { kind: 'kubernetes', secret: 'weir-system/weir-ca' } },
  })
})

t.test('the agent sees the logs of pods where it looks for them, and can change none', async (t) => {
  const settings = parseAgentArguments(['--node', 'n', '--kubernetes'])
  if (settings.kind !== 'config') throw new Error('no configuration')
  const { root } = settings.config.logs
  const mount = list(container(daemonSet), 'volumeMounts').find((one) => text(one, 'mountPath') === root)
  t.match(mount, { name: 'pod-logs', readOnly: true })
  const volume = list(daemonSet, 'spec.template.spec.volumes').find((one) => text(one, 'name') === 'pod-logs')
  t.equal(text(volume, 'hostPath.path'), '/var/log/pods')
})

t.test(
  'rules of alerts come from a ConfigMap that may be missing, with what their webhook needs beside them',
  async (t) => {
    const argument = list(container(daemonSet), 'args').find((one) => String(one).startsWith('--alerts='))
    const folder = String(argument).replace(/^--alerts=(.*)\/alerts\.yaml$/, '$1')
    const mount = list(container(daemonSet), 'volumeMounts').find((one) => text(one, 'mountPath') === folder)
    t.match(mount, { name: 'alerts', readOnly: true })
    const volume = list(daemonSet, 'spec.template.spec.volumes').find((one) => text(one, 'name') === 'alerts')
    const optional = { name: 'weir-alerts', optional: true }
    t.match(list(volume, 'projected.sources'), [{ configMap: optional }, { secret: optional }])
  },
)

interface Rule {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
}

const rulesOf = (kind: string, name: string) => list(of(kind, name), 'rules') as readonly Rule[]

t.test('no role has a wildcard, and none may read all secrets', async (t) => {
  for (const role of manifests.filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role')) {
    for (const rule of list(role, 'rules')) {
      t.notMatch(JSON.stringify(rule), /"\*"/, `${role.kind} ${role.metadata.name}`)
      const { resources, verbs } = rule as Rule
      if (!resources.includes('secrets') || (verbs.length === 1 && verbs[0] === 'create')) continue
      t.same(list(rule, 'resourceNames'), ['weir-ca'])
    }
  }
})

t.test('the agent may follow just what it follows', async (t) => {
  const followed = new Set(followedFor('node-1', undefined).map(({ group, plural }) => `${plural}.${group}`))
  const granted = new Set(
    rulesOf('ClusterRole', 'weir-agent')
      .filter(({ verbs }) => verbs.includes('watch') && verbs.includes('list'))
      .flatMap(({ apiGroups, resources }) => apiGroups.flatMap((group) => resources.map((name) => `${name}.${group}`))),
  )
  t.same([...granted].sort(), [...followed].sort())
})

t.test('nothing is privileged, and the agent has six capabilities', async (t) => {
  for (const [path, object] of manifests.flatMap((one) => [...objectsIn(one, one.kind)])) {
    for (const field of ['privileged', 'hostNetwork', 'hostPID', 'hostIPC'])
      t.notOk(field in object, `${path}.${field}`)
    if (!('capabilities' in object)) continue
    t.same(at(object, 'capabilities.drop'), ['ALL'])
    t.match(object, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true })
  }
  const added = ['NET_ADMIN', 'NET_RAW', 'SYS_ADMIN', 'SETUID', 'SETGID', 'KILL']
  t.same(at(container(daemonSet), 'securityContext.capabilities.add'), added)
  t.equal(at(container(deployment), 'securityContext.capabilities.add'), undefined)
})
