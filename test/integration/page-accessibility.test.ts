/** The page as axe-core sees it (WCAG 2.1, A and AA): each view, light and dark, with data, with faults, and without an agent. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { auditPage } from '../support/axe.ts'
import { Chromium, type ChromiumPage } from '../support/chromium.ts'
import { FailingServer } from '../support/failing-server.ts'
import { LogWriter } from '../support/log-writer.ts'
import { openShop } from '../support/shop.ts'

const BASE = 'http://127.0.0.1:15000'
/** What each view shows once it has its data. */
const VIEWS: Readonly<Record<string, string>> = {
  now: 'svg .edge.bad',
  edges: 'tbody tr',
  requests: '.lines li',
  logs: '.lines li',
  pods: 'tbody tr',
  'pod/shop/web': 'dl',
  rules: 'tbody tr',
}
const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const web = await shop.pod('web')
const cart = await shop.pod('cart')
await shop.serve(web)
const failing = new FailingServer(t, cart)
failing.answer = failing.fail(503)
const [service, cartService] = [shop.service('web'), shop.service('cart')]
lab.apply(
  `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: to-nowhere, namespace: shop }
spec:
  parentRefs: [{ group: '', kind: Service, name: web }]
  rules:
    - matches: [{ path: { type: Exact, value: /nowhere } }]
      backendRefs: [{ name: not-there, port: 80 }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: only-client, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  action: ALLOW
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/client] } }] }]
`,
  'rules.yaml',
)
const root = join(t.testdir({ pods: {} }), 'pods')
new LogWriter(root, `shop_web_${web.uid}`).write(['the shop is open', 'ERROR no more apples'])
const agent = await shop.start(['--log-root', root, '--look-ms', '500', '--access-log', 'off'])
const browser = Chromium.start(lab.node.netns)
t.teardown(() => browser[Symbol.asyncDispose]())
let stopped = false
const loading = (async () => {
  while (!stopped) {
    await Promise.all([shop.ask(client, service.ipv4, 80), shop.ask(client, cartService.ipv4, 80)])
    await pause(50)
  }
})()
const endLoad = async () => {
  stopped = true
  await loading
}
t.teardown(endLoad)

async function open(place: string): Promise<ChromiumPage> {
  const page = await browser.page()
  await page.size(1280, 900)
  await page.open(`${BASE}/${place}`)
  return page
}

t.test('no view has a fault that axe-core sees, light or dark, on a wide screen or a phone', async (t) => {
  await using page = await open('')
  await page.shows('not-there', '.findings')
  for (const [view, selector] of Object.entries(VIEWS)) {
    await page.value(`location.hash = "#/${view}"`)
    await page.until(`document.querySelector('main ${selector}')`)
    for (const colours of ['light', 'dark'] as const) {
      await page.colours(colours)
      const { violations, passed } = await auditPage(page)
      t.equal(violations.join('\n'), '', `${view}, ${colours}`)
      for (const rule of ['color-contrast', 'document-title', 'html-has-lang', 'link-name']) {
        t.ok(passed.includes(rule), `${rule} was tried`)
      }
    }
    await page.size(360, 740)
    t.equal((await auditPage(page)).violations.join('\n'), '', `${view}, on a phone`)
    await page.size(1280, 900)
  }
  t.same(page.complaints, [], 'the page’s own policy of contents is as strict as ever')
})

t.test('a service in the graph is named by what is to be seen of it, and by its figures', async (t) => {
  await using page = await open('#/now')
  await page.until(`document.querySelector('main ${VIEWS['now']}')`)
  const { nodes } = (await page.send('Accessibility.getFullAXTree')) as {
    nodes: { role?: { value: string }; name?: { value: string } }[]
  }
  const names = nodes.flatMap(({ role, name }) => (role?.value === 'link' ? [name?.value ?? ''] : []))
  t.ok(
    names.some((name) =>
      /^cart shop · .* errors\. shop\/cart: asked .* times a second, .* errors, by 1; asks 0$/.test(name),
    ),
    names.join('\n'),
  )
})

t.test('what is broken on purpose is seen', async (t) => {
  await using page = await open('#/pods')
  await page.colours('light')
  await page.until(`document.querySelector('main tbody tr')`)
  t.same((await auditPage(page)).violations, [])
  await page.value(`(() => {
    const add = (name, text) => {
      const element = Object.assign(document.createElement(name), { textContent: text })
      document.querySelector('header').append(element)
      return element
    }
    add('button', '')
    add('img', '').src = 'data:,'
    // All but as its background; of what is just as it axe-core will not judge.
    add('p', 'as good as nothing').style.color = '#aaa'
    document.documentElement.lang = ''
  })()`)
  const { violations } = await auditPage(page)
  const rules = new Set(violations.map((line) => line.slice(0, line.indexOf(':'))))
  for (const rule of ['button-name', 'color-contrast', 'html-has-lang', 'image-alt']) t.ok(rules.has(rule), rule)
})

t.test('neither has the page when its agent is gone', async (t) => {
  await using page = await open('#/now')
  await page.until(`document.querySelector('main svg')`)
  await endLoad()
  await agent.stop()
  await page.shows('does not answer; trying again', '#gone')
  for (const colours of ['light', 'dark'] as const) {
    await page.colours(colours)
    t.equal((await auditPage(page)).violations.join('\n'), '', colours)
  }
})
