/** The image as scripts/image builds it: what is in it, what is not, and that it runs. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '../..')
const work = mkdtempSync(join(tmpdir(), 'weir-image-'))
t.teardown(() => rmSync(work, { recursive: true, force: true }))

interface Descriptor {
  readonly digest: string
  readonly size: number
}

const build = (out: string) => {
  return execFileSync(join(ROOT, 'scripts/image'), [out], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim()
}
const archive = join(work, 'image.tar')
const digest = build(archive)
const layout = join(work, 'layout')
mkdirSync(layout)
execFileSync('tar', ['-xf', archive, '-C', layout])
const blobPath = (of: string) => join(layout, 'blobs/sha256', of.replace('sha256:', ''))
const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const index = readJson(join(layout, 'index.json'))
const manifest = readJson(blobPath(index.manifests[0].digest))
const config = readJson(blobPath(manifest.config.digest))
const layers: readonly Descriptor[] = manifest.layers
const image = join(work, 'root')
mkdirSync(image)
for (const layer of layers) execFileSync('tar', ['-xzf', blobPath(layer.digest), '-C', image])

const find = (...expression: readonly string[]) => {
  const found = execFileSync('find', ['.', ...expression], { cwd: image, encoding: 'utf8' })
  return found.split('\n').filter((line) => line !== '')
}
// With an environment of its own: tap's hooks, which come back with any that is given, are not in the image.
const inImage = (...command: readonly string[]) =>
  execFileSync('env', ['-i', 'PATH=/usr/sbin:/usr/bin', 'chroot', image, ...command], { encoding: 'utf8' })

t.test('every blob has the digest and the size that the manifest gives', async (t) => {
  t.equal(index.manifests[0].digest, digest)
  for (const { digest, size } of [index.manifests[0], manifest.config, ...layers]) {
    const bytes = readFileSync(blobPath(digest))
    t.equal(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, digest)
    t.equal(bytes.length, size)
  }
  t.equal(config.rootfs.diff_ids.length, layers.length)
  const { version } = readJson(join(ROOT, 'package.json'))
  t.equal(index.manifests[0].annotations['io.containerd.image.name'], `docker.io/library/weir:${version}`)
  t.match(readFileSync(join(ROOT, 'daemonset.yaml'), 'utf8'), `image: weir:${version}\n`)
})

t.test('the same sources give the same digest', async (t) => {
  t.equal(build(join(work, 'again.tar')), digest)
})

t.test('its entry point is the weir command, which runs with nothing but the image', async (t) => {
  t.same(config.config.Entrypoint, ['/weir/scripts/weir'])
  t.match(inImage('/weir/scripts/weir', 'agent', '--help'), /^weir agent --node NAME/)
  t.match(inImage('weir', 'ca', '--help'), /^weir ca --listen/)
  t.match(inImage('/weir/node_modules/.bin/node', '--version').trim(), process.version)
})

t.test('the programs that the agent starts are there, with all their libraries', async (t) => {
  t.match(inImage('ip', '-V'), /^ip utility/)
  t.match(inImage('setpriv', '--version'), /^setpriv/)
  for (const family of ['iptables', 'ip6tables']) {
    for (const infix of ['', '-nft', '-legacy']) {
      t.match(inImage(`${family}${infix}-restore`, '--version'), /^ip6?tables/)
      t.match(inImage(`${family}${infix}-save`, '--version'), /^ip6?tables/)
    }
  }
  t.ok(statSync(join(image, 'weir/dist/weir-cni')).mode & 0o100)
})

t.test('starts find their code compiled, those of the CA, which is not root, too', async (t) => {
  for (const [user, verb] of Object.entries({ 0: 'agent', 1338: 'ca' })) {
    const run = `NODE_DEBUG_NATIVE=COMPILE_CACHE weir ${verb} --help 2>&1`
    const told = inImage('setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups', 'bash', '-c', run)
    t.match(told, /V8 code cache for ESM .*main\.ts was accepted/)
    t.notMatch(told, /was rejected/)
  }
})

t.test('there is nothing in it that is not needed', async (t) => {
  t.same(find('-perm', '/6000', '-type', 'f'), [], 'no program gives privileges')
  t.same(find('-perm', '-0002', '-not', '-type', 'l', '-not', '-perm', '-1000'), [], 'nothing may be written by all')
  t.same(
    find(
      '(',
      '-name',
      'apt-get',
      '-o',
      '-name',
      'dpkg',
      '-o',
      '-name',
      'perl*',
      '-o',
      '-name',
      'npm',
      ')',
      '-type',
      'f',
    ),
    [],
  )
  t.same(find('-path', '*/weir/test/*'), [])
  const { devDependencies } = readJson(join(ROOT, 'package.json'))
  for (const name of Object.keys(devDependencies)) t.same(find('-path', `./weir/node_modules/${name}`), [])
  t.same(find('-name', '*.d.ts'), [])
  t.ok(statSync(archive).size < 160 * 2 ** 20, 'less than 160 MiB')
})
