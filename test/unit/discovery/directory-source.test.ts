import { mkdir, rename, rm, symlink, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { openDirectorySource } from '#discovery'
import { allow, Directory, service } from './changes.ts'

t.test('All manifests of the directory are read, multi-document and Lists included, and nothing else', async (t) => {
  await using directory = await Directory.make()
  await directory.write('b.yaml', `${service('one')}---\n# nothing here\n---\n${service('two')}`)
  await directory.write(
    'a.yml',
    'apiVersion: v1\nkind: List\nitems:\n- { apiVersion: v1, kind: Namespace, metadata: { name: shop } }\n- { apiVersion: v1, kind: Secret, metadata: { name: c } }\n',
  )
  await directory.write('c.yaml', 'apiVersion: v1\nkind: PodList\nitems: [{ metadata: { name: p } }]\n')
  await directory.write('.hidden.yaml', service('hidden'))
  await directory.write('#b.yaml', service('backup'))
  await directory.write('b.yaml~', service('backup'))
  await directory.write('readme.txt', 'no')
  await mkdir(join(directory.path, 'sub.yaml'))
  const told = await directory.open()
  t.strictSame(told.keys, ['/Namespace:/shop', '/Service:default/one', '/Service:default/two', '/Pod:default/p'])
  t.strictSame(told.lines, [])
  t.strictSame(
    told.objects.map(({ origin }) => origin),
    [
      { file: 'a.yml', document: 1, item: 1 },
      { file: 'b.yaml', document: 1 },
      { file: 'b.yaml', document: 3 },
      { file: 'c.yaml', document: 1, item: 1 },
    ],
  )
})

t.test('An empty directory is a world without objects', async (t) => {
  await using directory = await Directory.make()
  await directory.open()
  t.equal(directory.calls, 1)
  t.strictSame(directory.last.keys, [])
})

t.test('A directory that is missing, or is none, is refused in words', async (t) => {
  await using directory = await Directory.make()
  await directory.write('file', '')
  const onChange = (): void => void t.fail('nothing can be told')
  const missing = join(directory.path, 'nowhere')
  await t.rejects(openDirectorySource({ directory: missing, onChange }), {
    name: 'SourceError',
    message: `Cannot read the manifest directory ${missing}: it does not exist; create it or name another one`,
  })
  const file = join(directory.path, 'file')
  await t.rejects(openDirectorySource({ directory: file, onChange }), {
    message: `Cannot read the manifest directory ${file}: it is not a directory; name the directory that holds the manifests`,
  })
})

t.test(
  'Files added, edited, renamed and removed take effect, and what did not change stays the same value',
  async (t) => {
    await using directory = await Directory.make()
    await directory.write('a.yaml', `${service('one')}---\n${service('two')}`)
    const before = await directory.open()
    await directory.write('b.yaml', service('three'))
    const added = await directory.until(({ keys }) => keys.length === 3)
    t.equal(added.objects[0], before.objects[0])
    await directory.write('a.yaml', `${service('one')}---\n${service('two', 81)}`)
    const edited = await directory.until(({ objects }) => JSON.stringify(objects).includes('81'))
    t.equal(edited.objects[0], before.objects[0], 'the untouched object of an edited file')
    t.not(edited.objects[1], before.objects[1])
    await directory.rename('b.yaml', 'a0.yaml')
    await directory.until(({ objects }) => objects.some(({ origin }) => origin?.file === 'a0.yaml'))
    await directory.remove('a.yaml')
    const removed = await directory.until(({ keys }) => keys.length === 1)
    t.strictSame(removed.keys, ['/Service:default/three'])
  },
)

t.test('Without file events the periodic look finds every change', async (t) => {
  await using directory = await Directory.make()
  await directory.write('a.yaml', service('one'))
  await directory.open({ watch: false, rescanMs: 5 })
  await directory.write('a.yaml', service('two'))
  t.strictSame((await directory.until(({ keys }) => keys[0] !== '/Service:default/one')).keys, ['/Service:default/two'])
  await directory.remove('a.yaml')
  await directory.until(({ keys }) => keys.length === 0)
})

t.test(
  'A broken file is not applied: its last good contents stay in force and the problem stands until it is mended',
  async (t) => {
    await using directory = await Directory.make()
    await directory.write('a.yaml', allow('one'))
    const before = await directory.open()
    await directory.write('a.yaml', allow('one').replace('}] }\n', ''))
    const broken = await directory.until(({ lines }) => lines.length > 0)
    t.match(
      broken.lines[0],
      /^a\.yaml \(document 1\): not valid YAML: .* at line \d+, column \d+: .*; the last good contents stay in force until it is mended$/,
    )
    t.equal(broken.objects[0], before.objects[0])
    await directory.write('b.yaml', service('two'))
    t.equal((await directory.until(({ keys }) => keys.length === 2)).lines.length, 1, 'other files go on')
    await directory.write('a.yaml', allow('one', 'PUT'))
    const mended = await directory.until(({ lines }) => lines.length === 0)
    t.match(mended.objects[0], { spec: { rules: [{ to: [{ operation: { methods: ['PUT'] } }] }] } })
  },
)

t.test('A file cut off where the rest is still YAML, or emptied, is not applied either', async (t) => {
  await using directory = await Directory.make()
  const text = `${service('one')}---\n${service('two')}`
  await directory.write('a.yaml', text)
  await directory.open()
  const cuts: [string, RegExp][] = [
    [
      `${service('one')}---\napi`,
      /document 2\): expected a Kubernetes object \(a mapping\), got string; the last good/,
    ],
    [`${service('one')}---\napiVersion: v1\n`, /document 2\): kind: is missing; the last good/],
    [
      `${service('one')}---\napiVersion: v1\nkind: Service\n`,
      /document 2\): Service: metadata\.name: is missing; the last good/,
    ],
    ['', /^a\.yaml: is empty: fill it again, or delete it to remove its objects; the last good/],
  ]
  for (const [cut, line] of cuts) {
    await directory.write('a.yaml', cut)
    const told = await directory.until(({ lines }) => lines.some((one) => line.test(one)))
    t.strictSame(told.keys, ['/Service:default/one', '/Service:default/two'], String(line))
  }
  await directory.write('a.yaml', text)
  await directory.until(({ lines }) => lines.length === 0)
})

t.test('A file of comments only means what it says', async (t) => {
  await using directory = await Directory.make()
  await directory.write('a.yaml', service('one'))
  await directory.open()
  await directory.write('a.yaml', '# all gone\n')
  t.strictSame((await directory.until(({ keys }) => keys.length === 0)).lines, [])
})

t.test(
  'An object that does not validate keeps its last good version, the others of its file are applied',
  async (t) => {
    await using directory = await Directory.make()
    await directory.write('a.yaml', `${service('one')}---\n${service('two')}`)
    const before = await directory.open()
    await directory.write('a.yaml', `${service('one', 'x')}---\n${service('two', 81)}`)
    const told = await directory.until(({ lines }) => lines.length > 0)
    t.strictSame(told.lines, [
      'a.yaml (document 1): Service default/one: spec.ports[0].port: expected a number, got string',
    ])
    t.ok(told.objects.some((object) => object === before.objects[0]))
    t.match(
      told.objects.find(({ metadata }) => metadata.name === 'two'),
      { spec: { ports: [{ port: 81 }] } },
    )
  },
)

t.test('A policy that does not validate is passed on as one that refuses', async (t) => {
  await using directory = await Directory.make()
  await directory.write('a.yaml', allow('one'))
  await directory.open()
  await directory.write('a.yaml', allow('one', 7))
  const told = await directory.until(({ lines }) => lines.length > 0)
  const text = 'spec.rules[0].to[0].operation.methods[0]: expected a string, got number; put it in quotes'
  const effect = 'until it is mended it denies all that it selects'
  t.strictSame(told.lines, [`a.yaml (document 1): AuthorizationPolicy shop/one: ${text}; ${effect}`])
  t.match(told.objects, [{ kind: 'AuthorizationPolicy', invalid: text }])
})

t.test('A start with a broken file keeps its policies in force, the broken ones as refusing', async (t) => {
  await using directory = await Directory.make()
  await directory.write('a.yaml', `${allow('good')}---\n${service('one')}---\n${allow('cut').replace('}] }\n', '')}`)
  const told = await directory.open()
  t.strictSame(told.keys, ['weir.dev/AuthorizationPolicy:shop/good', 'weir.dev/AuthorizationPolicy:shop/cut'])
  t.notOk('invalid' in (told.objects[0] ?? {}))
  t.match(told.objects[1], { invalid: /^not valid YAML/ })
  t.notOk('target' in (told.objects[1] ?? {}))
  t.match(told.lines[0], /of this file only security policies are in force until it is mended, the broken ones deny$/)
  await directory.write('a.yaml', service('one'))
  t.strictSame((await directory.until(({ lines }) => lines.length === 0)).keys, ['/Service:default/one'])
})

t.test('A file that appears broken applies nothing', async (t) => {
  await using directory = await Directory.make()
  await directory.open()
  await directory.write('a.yaml', allow('cut').replace('}] }\n', ''))
  const told = await directory.until(({ lines }) => lines.length > 0)
  t.strictSame(told.keys, [])
  t.match(told.lines[0], /; nothing of this file is applied until it is mended$/)
})

t.test('Of an object in two files the first by file name is kept, until it goes', async (t) => {
  await using directory = await Directory.make()
  await directory.write('a.yaml', service('one', 1))
  await directory.write('b.yaml', `${service('one', 2)}---\n${service('one', 3)}`)
  const told = await directory.open()
  t.match(told.objects, [{ spec: { ports: [{ port: 1 }] } }])
  t.strictSame(told.lines, [
    'b.yaml (document 2): Service default/one: is already defined in b.yaml (document 1), which is kept: remove one of them',
    'b.yaml (document 1): Service default/one: is already defined in a.yaml (document 1), which is kept: remove one of them',
  ])
  await directory.remove('a.yaml')
  t.match((await directory.until(({ lines }) => lines.length === 1)).objects, [{ spec: { ports: [{ port: 2 }] } }])
})

t.test('Bytes that are not UTF-8, repeated keys and alias bombs are told, not applied', async (t) => {
  await using directory = await Directory.make()
  await directory.write('a.yaml', new Uint8Array([0x61, 0xff]))
  await directory.write('b.yaml', `${service('one')}kind: Pod\n`)
  const bomb = [
    'a: &a [x, x, x, x, x, x, x, x, x, x]',
    ...'bcdefgh'.split('').map((key, index) => `${key}: &${key} [${`*${'abcdefg'[index]}, `.repeat(10)}]`),
  ]
  await directory.write('c.yaml', `${bomb.join('\n')}\n`)
  const told = await directory.open()
  t.strictSame(told.keys, [])
  t.match(told.lines[0], /^a\.yaml: is not UTF-8 text: save it as UTF-8; nothing/)
  t.match(
    told.lines[1],
    /^b\.yaml \(document 1\): not valid YAML: a key is given twice in one mapping at line \d+, column \d+: keep one of them;/,
  )
  t.match(told.lines[2], /^c\.yaml \(document 1\): not valid YAML: Excessive alias count/)
})

t.test('A directory that goes away keeps its objects in force, and is followed again when it is back', async (t) => {
  await using directory = await Directory.make()
  await directory.write('a.yaml', service('one'))
  await directory.open({ rescanMs: 5 })
  const away = `${directory.path}-away`
  t.teardown(() => rm(away, { recursive: true, force: true }))
  await rename(directory.path, away)
  const gone = await directory.until(({ lines }) => lines.length > 0)
  t.strictSame(gone.lines, [
    `${directory.path}: cannot be read any more (ENOENT); its last good contents stay in force`,
  ])
  t.strictSame(gone.keys, ['/Service:default/one'])
  await mkdir(directory.path)
  await directory.write('a.yaml', service('two'))
  t.strictSame(
    (await directory.until(({ lines, keys }) => lines.length === 0 && keys.includes('/Service:default/two'))).keys,
    ['/Service:default/two'],
  )
})

t.test('Links are followed when they are turned, as a mounted ConfigMap does', async (t) => {
  await using directory = await Directory.make()
  await mkdir(join(directory.path, '..v1'))
  await mkdir(join(directory.path, '..v2'))
  await directory.write('..v1/a.yaml', service('one'))
  await directory.write('..v2/a.yaml', service('two'))
  await symlink('..v1', join(directory.path, '..data'))
  await symlink('..data/a.yaml', join(directory.path, 'a.yaml'))
  t.strictSame((await directory.open()).keys, ['/Service:default/one'])
  await symlink('..v2', join(directory.path, '..tmp'))
  await directory.rename('..tmp', '..data')
  await directory.until(({ keys }) => keys[0] === '/Service:default/two')
})

t.test(
  'A file that is gone stays in force until a second look, for an editor may be about to name it anew',
  async (t) => {
    await using directory = await Directory.make()
    await mkdir(join(directory.path, '..v1'))
    await mkdir(join(directory.path, '..v2'))
    await directory.write('..v1/a.yaml', service('one'))
    await directory.write('..v2/b.yaml', service('two'))
    await symlink('..v1', join(directory.path, '..data'))
    await symlink('..data/a.yaml', join(directory.path, 'a.yaml'))
    await symlink('..data/b.yaml', join(directory.path, 'b.yaml'))
    await directory.open()
    await symlink('..v2', join(directory.path, '..tmp'))
    // In one step the file a.yaml goes and b.yaml comes.
    await directory.rename('..tmp', '..data')
    await directory.until(({ keys }) => keys.length === 1 && keys[0] === '/Service:default/two')
    t.strictSame(directory.history, [
      ['/Service:default/one'],
      ['/Service:default/two', '/Service:default/one'],
      ['/Service:default/two'],
    ])
  },
)

t.test('A renamed file is not told as a double', async (t) => {
  await using directory = await Directory.make()
  await directory.write('a.yaml', service('one'))
  await directory.open()
  await directory.rename('a.yaml', 'b.yaml')
  const told = await directory.until(({ objects }) => objects[0]?.origin?.file === 'b.yaml')
  t.strictSame(told.lines, [])
})

t.test('An abort while the source opens rejects, and nothing is told', async (t) => {
  await using directory = await Directory.make()
  const abort = new AbortController()
  const opening = directory.open({ signal: abort.signal })
  abort.abort()
  await t.rejects(opening, { name: 'AbortError' })
  t.equal(directory.calls, 0)
})

t.test('A huge file is not read', async (t) => {
  await using directory = await Directory.make()
  await directory.write('a.yaml', '')
  await truncate(join(directory.path, 'a.yaml'), 17 * 1024 * 1024)
  t.strictSame((await directory.open()).lines, ['a.yaml: has 17825792 bytes, at most 16777216 are read: split it'])
})

t.test('After disposal, or an abort, nothing is told any more', async (t) => {
  for (const way of ['dispose', 'abort'] as const) {
    await using directory = await Directory.make()
    await using other = new Directory(directory.path)
    const abort = new AbortController()
    await directory.open({ signal: abort.signal })
    if (way === 'abort') abort.abort()
    else await directory.close()
    await other.open()
    await directory.write('a.yaml', service('one'))
    await other.until(({ keys }) => keys.length === 1)
    await other.close()
    t.equal(directory.calls, 1, way)
  }
})
