/** docs/features.md and examples/ say the same, and every example is in force as written: nothing refused, nothing ignored. */
import { existsSync } from 'node:fs'
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseAllDocuments, stringify } from 'yaml'
import { openDirectorySource } from '#discovery'
import { conditionsOf } from '#mesh/compile'
import type { KubernetesObject } from '#resources'
import { MeshState } from '../../../agent/mesh-state.ts'
import { at, type Json, list, ROOT, text } from '../deploy/manifests.ts'

const NODE = 'node-1'
/** What the other examples are about. */
const BASE = 'shop.yaml'
/** Kinds that Kubernetes reads, not the mesh: of a Deployment it reads the Pods. */
const NOT_OURS = ['Deployment', 'ConfigMap', 'Secret']
const quiet = { info: () => {}, warn: () => {} }
const examples = (await readdir(join(ROOT, 'examples'), { recursive: true }))
  .filter((name) => /\.\w+$/.test(name))
  .sort()
/** The others are read by programs that are not Kubernetes. */
const isManifest = (name: string) => name.endsWith('.yaml') && name !== 'alerts.yaml'

interface Row {
  readonly line: string
  readonly manifests: readonly string[]
  readonly tests: readonly string[]
}

/** The rows of all tables that have these three columns. */
function rowsOf(markdown: string): readonly Row[] {
  return markdown
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|\s*(:?-+:?|feature)\s*\|/i.test(line))
    .map((line) => {
      const [, , manifest = '', test = ''] = line.split(/(?<!\\)\|/)
      const paths = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, path = '']) => path)
      return { line, manifests: paths(manifest), tests: paths(test) }
    })
}

/** One running Pod of each Deployment, as Kubernetes would make it. */
function podsOf(documents: readonly Json[]): string {
  const pods = documents
    .filter((document) => text(document, 'kind') === 'Deployment')
    .map((deployment, index) => {
      const name = `${text(deployment, 'metadata.name')}-0`
      const annotations = { ...(at(deployment, 'spec.template.metadata.annotations') as Record<string, string>) }
      return {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: {
          name,
          namespace: text(deployment, 'metadata.namespace'),
          uid: name,
          labels: at(deployment, 'spec.template.metadata.labels'),
          annotations: { ...annotations, 'weir.dev/netns': `/run/netns/${name}` },
        },
        spec: { ...(at(deployment, 'spec.template.spec') as object), nodeName: NODE },
        status: {
          phase: 'Running',
          podIP: `10.0.0.${index + 1}`,
          podIPs: [{ ip: `10.0.0.${index + 1}` }],
          conditions: [{ type: 'Ready', status: 'True' }],
        },
      }
    })
  return pods.map((pod) => stringify(pod)).join('---\n')
}

/** Everything that is wrong with the world of one example and the shop. */
async function problemsWith(file: string): Promise<readonly string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-examples-'))
  try {
    const files = [...new Set([BASE, file])]
    const documents: Json[] = []
    for (const name of files) {
      await copyFile(join(ROOT, 'examples', name), join(directory, name))
      const source = await readFile(join(directory, name), 'utf8')
      documents.push(...parseAllDocuments(source).map((document) => document.toJS() as Json))
    }
    const pods = podsOf(documents)
    await writeFile(join(directory, 'zz-pods.yaml'), pods)
    let objects: readonly KubernetesObject[] = []
    const state = new MeshState({ node: NODE, trustDomain: 'cluster.local' }, quiet as never)
    const onChange: Parameters<typeof openDirectorySource>[0]['onChange'] = (all, { problems }) => {
      objects = all
      state.update(all, problems)
    }
    await using _source = await openDirectorySource({ directory, onChange, watch: false })
    const wrong = state.problems.map(({ object, field, message }) => `${object} ${field}: ${message}`)
    const known = new Set(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`))
    for (const document of documents) {
      const name = `${text(document, 'kind')} ${text(document, 'metadata.name')}`
      if (!NOT_OURS.includes(text(document, 'kind')) && !known.has(name)) wrong.push(`${name}: is ignored`)
    }
    for (const status of conditionsOf(objects)) {
      for (const one of [
        ...list(status, 'conditions'),
        ...list(status, 'parents').flatMap((p) => list(p, 'conditions')),
      ])
        if (text(one, 'status') !== 'True') wrong.push(`${status.kind} ${status.name}: ${text(one, 'message')}`)
    }
    return wrong
  } finally {
    await rm(directory, { recursive: true })
  }
}

t.test('Each example is in force as it is written', async (t) => {
  t.ok(examples.length > 10)
  for (const file of examples.filter(isManifest)) t.strictSame(await problemsWith(file), [], file)
})

t.test(
  'Each row of docs/features.md names an example and a test that are there, and each example has a row',
  async (t) => {
    const rows = rowsOf(await readFile(join(ROOT, 'docs/features.md'), 'utf8'))
    t.ok(rows.length > 10)
    const isTest = (path: string) => /^test\/.*\.test\.ts$/.test(path) && existsSync(join(ROOT, path))
    for (const { line, manifests, tests } of rows) {
      t.ok(manifests.length > 0 && tests.length > 0, `names both: ${line}`)
      t.strictSame(
        manifests.filter((path) => !examples.includes(path.replace(/^examples\//, ''))),
        [],
        line,
      )
      t.strictSame(
        tests.filter((path) => !isTest(path)),
        [],
        line,
      )
    }
    const shown = new Set([`examples/${BASE}`, ...rows.flatMap(({ manifests }) => manifests)])
    t.strictSame(
      examples.filter((file) => !shown.has(`examples/${file}`)),
      [],
      'without a row',
    )
  },
)
