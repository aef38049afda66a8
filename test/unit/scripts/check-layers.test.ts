import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { checkLayers } from '../../../scripts/check-layers.ts'

const SCRIPT = join(import.meta.dirname, '../../../scripts/check-layers.ts')

/** Makes a tree in which `path` holds `text`, beside empty faces of all folders, and checks it. */
function check(t: Test, path: string, text: string, more: Record<string, string> = {}): readonly string[] {
  const faces = ['base', 'contract', 'linux', 'resources', 'identity', 'discovery', 'mesh', 'routing', 'http', 'proxy']
  const files = {
    ...Object.fromEntries(faces.map((name) => [`src/${name}/index.ts`, 'export {}'])),
    'src/policy/index.ts': 'export {}',
    'src/identity/ca/index.ts': 'export {}',
    'src/http/inner.ts': 'export const inner = 1',
    'agent/main.ts': 'export {}',
    ...more,
    [path]: text,
  }
  return checkLayers(t.testdir(asTree(files))).violations
}

type Tree = { [name: string]: Tree | string }

function asTree(files: Record<string, string>): Tree {
  const tree: Tree = {}
  for (const [path, text] of Object.entries(files)) {
    const parts = path.split('/')
    const name = parts.pop() ?? ''
    let folder = tree
    for (const part of parts) {
      const next = folder[part] ?? {}
      if (typeof next === 'string') throw new Error(`${part} is a file`)
      folder[part] = next
      folder = next
    }
    folder[name] = text
  }
  return tree
}

const refused: readonly (readonly [string, string, string, RegExp])[] = [
  ['the agent imports http', 'agent/x.ts', `import '#http'`, /agent may not import http/],
  ['the agent imports the proxy', 'agent/enrol/x.ts', `import '#proxy'`, /agent may not import proxy/],
  ['the agent imports policy', 'agent/x.ts', `import '#policy'`, /agent may not import policy/],
  ['the proxy imports discovery', 'src/proxy/x.ts', `import '#discovery'`, /proxy may not import discovery/],
  ['the proxy imports resources', 'src/proxy/x.ts', `import '#resources'`, /proxy may not import resources/],
  ['a type comes over a forbidden border', 'src/proxy/x.ts', `import type { A } from '#resources'`, /may not import/],
  ['an export comes over a forbidden border', 'src/base/x.ts', `export * from '#mesh'`, /base may not import mesh/],
  ['a dynamic import crosses a border', 'agent/x.ts', `await import('#http')`, /agent may not import http/],
  ['a dynamic import hides its module', 'agent/x.ts', 'await import(place)', /plain string/],
  ['another folder is entered deeply', 'src/proxy/x.ts', `import '../http/inner.ts'`, /import '#http', not a file/],
  ['a folder imports its own face', 'src/http/x.ts', `import '#http'`, /relative path/],
  ['a file is not there', 'src/http/x.ts', `import './nothing.ts'`, /does not exist/],
  ['koffi is imported outside linux', 'src/proxy/x.ts', `import 'koffi'`, /only linux may import koffi/],
  ['the page imports what Node alone has', 'src/page/x.ts', `import 'node:fs'`, /page must stay pure/],
  [
    'the page imports values of the contract',
    'src/page/x.ts',
    `import { A } from '#contract'`,
    /types only from contract/,
  ],
  ['the page imports base', 'src/page/x.ts', `import '#base'`, /page may not import base/],
  [
    'the agent runs what is for browsers',
    'agent/x.ts',
    `import '../src/page/x.ts'`,
    /does not exist|may not import page/,
  ],
  ['the command imports mesh', 'src/cli/x.ts', `import '#mesh'`, /cli may not import mesh/],
  [
    'the proxy imports what makes certificates',
    'src/proxy/x.ts',
    `import '#identity/ca'`,
    /may not import identity\/ca/,
  ],
  [
    'identity reaches into its CA',
    'src/identity/x.ts',
    `import './ca/index.ts'`,
    /identity may not import identity\/ca/,
  ],
  ['the X.509 library is imported elsewhere', 'agent/x.ts', `import '@peculiar/x509'`, /only identity\/ca may import/],
  [
    'gRPC is imported elsewhere',
    'src/tunnel/x.ts',
    `import '@grpc/grpc-js'`,
    /only agent\/identity\/remote-issuer\.ts, agent\/ca, agent\/cri may import/,
  ],
  ['a folder is unknown', 'src/helpers/x.ts', 'export {}', /no entry in the allow-list/],
  ['policy imports a Node module', 'src/policy/x.ts', `import 'node:fs'`, /must stay pure.*Node module node:fs/],
  ['policy imports a Node module without its prefix', 'src/policy/x.ts', `import 'fs'`, /Node module fs/],
  ['routing imports a package', 'src/routing/x.ts', `import 'yaml'`, /package yaml/],
  ['policy imports identity at run time', 'src/policy/x.ts', `import { a } from '#identity'`, /types only/],
]

for (const [what, path, text, message] of refused) {
  t.test(`it is a violation when ${what}`, async (t) => {
    const violations = check(t, path, text)
    t.equal(violations.length, 1)
    t.match(violations[0], message)
    t.ok(violations[0]?.startsWith(path), 'the file is named')
  })
}

t.test('a Node module that a pure folder reaches through another folder is found, with the way', async (t) => {
  const violations = check(t, 'src/policy/x.ts', `import '#mesh'`, {
    'src/mesh/index.ts': `import './inner.ts'`,
    'src/mesh/inner.ts': `import { readFile } from 'node:fs'`,
  })
  t.same(violations, [
    'src/policy/x.ts: policy must stay pure, but reaches the Node module node:fs: ' +
      'src/policy/x.ts > src/mesh/index.ts > src/mesh/inner.ts > node:fs',
  ])
})

t.test('a process of every node may not load what makes certificates, by whatever way', async (t) => {
  const shared = {
    'src/identity/ca/index.ts': `import './x509.ts'`,
    'src/identity/ca/x509.ts': `import '@peculiar/x509'`,
  }
  const way = 'agent/identity/open.ts > src/identity/ca/index.ts > src/identity/ca/x509.ts > @peculiar/x509'
  const files = { ...shared, 'agent/identity/open.ts': `await import('#identity/ca')` }
  t.same(check(t, 'agent/main.ts', `import './identity/open.ts'`, files), [
    `agent/main.ts: a process of every node, but reaches the package @peculiar/x509: agent/main.ts > ${way}`,
  ])
  const types = { ...shared, 'agent/identity/open.ts': `import type { A } from '#identity/ca'` }
  t.same(check(t, 'agent/main.ts', `import './identity/open.ts'`, types), [], 'types are not loaded')
})

const allowed: readonly (readonly [string, string, string])[] = [
  ['the proxy uses http by its face', 'src/proxy/x.ts', `import { a } from '#http'`],
  ['a folder uses its own files', 'src/http/x.ts', `import { inner } from './inner.ts'`],
  ['policy uses types of identity', 'src/policy/x.ts', `import type { A } from '#identity'`],
  ['the admin API uses policy', 'agent/admin/x.ts', `import '#policy'`],
  ['the command starts the agent', 'src/cli/main.ts', `await import('../../agent/main.ts')`],
  ['the file that asks a CA uses gRPC', 'agent/identity/remote-issuer.ts', `import '@grpc/grpc-js'`],
  ['linux uses koffi', 'src/linux/x.ts', `import koffi from 'koffi'`],
]

for (const [what, path, text] of allowed) {
  t.test(`it is no violation when ${what}`, async (t) => {
    t.same(check(t, path, text), [])
  })
}

t.test('the script fails on a violation, and when it read no file', async (t) => {
  const run = (dir: string) => spawnSync(process.execPath, [SCRIPT, dir], { encoding: 'utf8' })
  const good = run(t.testdir({ src: { base: { 'index.ts': 'export {}' } } }))
  t.match(good, { status: 0, stdout: '1 files read, 0 violations' })
  t.match(run(t.testdir({ src: { base: { 'index.ts': `import 'koffi'` } } })), { status: 1, stderr: /koffi/ })
  t.match(run(t.testdir({})), { status: 1, stderr: /nothing was checked/ })
})
