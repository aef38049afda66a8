/**
 * axe-core in a page of the browser: its script runs in a world of its own beside the page's, put there by the debugger. So
 * the page's policy of contents stays as it is, and nothing of it is ever served.
 */
import axe from 'axe-core'
import type { ChromiumPage } from './chromium.ts'

const WORLD = 'weir-test-axe'
/** WCAG 2.1, A and AA. */
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']

interface Found {
  readonly id: string
  readonly help: string
  readonly nodes: readonly { readonly html: string; readonly why: string }[]
}

export interface Audit {
  /** A line each: rule, what it asks for, and where it is not so. */
  readonly violations: readonly string[]
  /** Names of the rules that were tried and hold. */
  readonly passed: readonly string[]
}

/** Audits the page as it is now. */
export async function auditPage(page: ChromiumPage): Promise<Audit> {
  const { frameTree } = await page.send('Page.getFrameTree')
  const frameId = (frameTree as { frame: { id: string } }).frame.id
  const { executionContextId: contextId } = await page.send('Page.createIsolatedWorld', { frameId, worldName: WORLD })
  const run = async (expression: string): Promise<unknown> => {
    const params = { expression, contextId, awaitPromise: true, returnByValue: true }
    const { result, exceptionDetails } = await page.send('Runtime.evaluate', params)
    if (exceptionDetails !== undefined) throw new Error(`axe-core: ${JSON.stringify(exceptionDetails)}`)
    return (result as { value?: unknown }).value
  }
  await run(`${axe.source}; 0`)
  // Style sheets of other sites would be fetched: there are none.
  const options = { runOnly: { type: 'tag', values: TAGS }, preload: false }
  const { violations, passes } = (await run(`axe.run(document, ${JSON.stringify(options)}).then((all) => ({
    passes: all.passes.map(({ id }) => id),
    violations: all.violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map(({ html, failureSummary }) =>
      ({ html: html.slice(0, 300), why: failureSummary })) })),
  }))`)) as { passes: string[]; violations: Found[] }
  return {
    passed: passes,
    violations: violations.flatMap(({ id, help, nodes }) =>
      nodes.map(({ html, why }) => `${id}: ${help}: ${html}: ${why}`),
    ),
  }
}
