/** Links of the documents lead somewhere: to a file that is there, and to a heading of it. */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { ROOT } from '../deploy/manifests.ts'

const inDocs = await readdir(join(ROOT, 'docs'), { recursive: true })
const documents = ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', ...inDocs.map((name) => join('docs', name))].filter(
  (name) => name.endsWith('.md'),
)

/** As GitHub makes them of headings. */
function anchorsOf(markdown: string): ReadonlySet<string> {
  const headings = [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, text = '']) => text)
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

/** What its links do not find. */
async function lostOf(document: string): Promise<string[]> {
  const markdown = await readFile(join(ROOT, document), 'utf8')
  const lost: string[] = []
  for (const [, link = ''] of markdown.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(link)) continue
    const [path = '', anchor] = link.split('#')
    const file = path === '' ? join(ROOT, document) : join(ROOT, dirname(document), path)
    if (!existsSync(file)) lost.push(`${document}: no file ${relative(ROOT, file)}`)
    else if (anchor !== undefined && !anchorsOf(await readFile(file, 'utf8')).has(anchor)) {
      lost.push(`${document}: no heading #${anchor} in ${relative(ROOT, file)}`)
    }
  }
  return lost
}

t.test('every link of a document leads to a file, and to a heading that it has', async (t) => {
  t.ok(documents.includes('docs/traffic.md'))
  t.strictSame((await Promise.all(documents.map(lostOf))).flat(), [])
})
