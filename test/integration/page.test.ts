/** The page in a real browser, against a real shop: what is seen, that it can be used without a mouse, and what it does not do. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Chromium, type ChromiumPage } from '../support/chromium.ts'
import { FailingServer } from '../support/failing-server.ts'
import { openLab } from '../support/lab.ts'
import { LogWriter } from '../support/log-writer.ts'
import { Shop } from '../support/shop.ts'

const TOKEN = 'the-token-of-this-test'
/** What would run a script, if it became anything but a text. */
const HOSTILE = `"><img src=x onerror="window.pwned=1"><script>window.pwned=1</script><a href="javascript:pwned=1">x</a>`

const lab = await openLab({ t, nodes: 2 })
const shop = new Shop(lab)
t.teardown(() => shop[Symbol.asyncDispose]())
const [here, there] = lab.nodes
if (here === undefined || there === undefined) throw new Error('Two nodes were asked for')
const client = await shop.pod('client')
const web = await shop.pod('web', { labels: { app: 'web', note: HOSTILE } })
const far = await there.addPod({ name: 'far', namespace: 'shop', serviceAccount: 'far', labels: { app: 'far' } })
await shop.serve(web)
await shop.serve(far)
const cart = await shop.pod('cart')
const failing = new FailingServer(t, cart)
failing.answer = failing.fail(503)
shop.service('old', { selector: { app: 'web' } })
const [service, cartService, farService] = [shop.service('web'), shop.service('cart'), shop.service('far')]
lab.apply(
  `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: to-nowhere, namespace: shop }
spec:
  parentRefs: [{ group: '', kind: Service, name: old }]
  rules:
    - matches: [{ path: { type: Exact, value: /nowhere } }]
      backendRefs: [{ name: not-there, port: 80 }]
`,
  'route.yaml',
)
lab.apply(
  `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: only-client, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  action: ALLOW
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/client] } }] }]
`,
  'policy.yaml',
)
const directory = t.testdir({ pods: {}, token: TOKEN })
const root = join(directory, 'pods')
const webLog = new LogWriter(root, `shop_web_${web.uid}`)
webLog.write(['the shop is open', HOSTILE])
const shared = ['--ca-dir', join(lab.dir, 'ca'), '--log-root', root]
const tokenFile = join(directory, 'token')
const farAgent = await there.startAgent({
  proxies: 1,
  extraArgs: [...shared, '--admin', '0.0.0.0:15000', '--admin-token-file', tokenFile],
})
const peers = ['--admin-peers', `node-2=${there.ipv4}:15000`, '--admin-peer-token-file', tokenFile]
const args = { proxies: 1, extraArgs: [...shared, ...peers, '--access-log', join(directory, 'access.log')] }
const agent = await here.startAgent(args)
const browser = Chromium.start(here.netns)
t.teardown(() => browser[Symbol.asyncDispose]())
const BASE = 'http://127.0.0.1:15000'

/** Some hundred requests a second until it is disposed. */
function load() {
  let stopped = false
  const running = (async () => {
    while (!stopped) {
      await Promise.all([
        shop.ask(client, service.ipv4, 80),
        shop.ask(client, cartService.ipv4, 80),
        shop.ask(client, farService.ipv4, 80),
      ])
      await sleep(10)
    }
  })()
  return {
    [Symbol.asyncDispose]: async () => {
      stopped = true
      await running
    },
  }
}

async function open(place = ''): Promise<ChromiumPage> {
  const page = await browser.page()
  await page.size(1280, 900)
  await page.open(`${BASE}/${place}`)
  return page
}

/** What it complained of, and whom it asked besides the agent: nothing and nobody. */
function strays(page: ChromiumPage, base = BASE): readonly string[] {
  if (page.asked.length < 5) throw new Error('The page has asked nothing')
  const isOwn = (url: string) => url.replace(/^ws:/, 'http:').startsWith(`${base}/`) || url === 'data:,'
  return [...page.complaints, ...page.asked.filter((url) => !isOwn(url))]
}

t.test('what is wrong now is told first, then the graph with rates, errors in words, and locks', async (t) => {
  await using _ = load()
  await using page = await open()
  await page.shows('not-there', '.findings')
  await page.shows('weir diagnose')
  await page.until('document.querySelector("svg")')
  t.ok(
    await page.value('document.querySelector(".findings").compareDocumentPosition(document.querySelector("svg")) & 4'),
  )
  const label = (from: string, to: string) => `.edge[aria-label^="${from} to ${to}: "]`
  await page.until(`/\\/s.*, mTLS$/.test(document.querySelector('${label('shop/client', 'shop/web')}')?.ariaLabel)`)
  await page.until(`document.querySelector('${label('shop/client', 'shop/far')}')`)
  await page.until(`/100.00 % errors/.test(document.querySelector('${label('shop/client', 'shop/cart')}')?.ariaLabel)`)
  await page.shows('100.00 % errors', 'a.node.bad')
  await page.until(`document.querySelector('tr[data-key="shop/cart"].bad')`)
  t.same(strays(page), [])
})

t.test('the edges are a table with identities', async (t) => {
  await using _ = load()
  await using page = await open('#/edges?of=shop/web')
  await page.shows('spiffe://cluster.local/ns/shop/sa/client', 'tbody')
  await page.shows('warning', 'header')
  t.equal(await page.value('document.querySelectorAll("tbody tr").length'), 1, 'only those of the one that was chosen')
  t.same(strays(page), [])
})

t.test(
  'a request that is made now is seen as it ends, filtered as one likes, and its trace leads to its logs',
  async (t) => {
    await using page = await open('#/requests?path=/seen')
    await page.shows('live', '[role=status]')
    await shop.ask(client, service.ipv4, 80, { target: '/unseen' })
    await shop.ask(client, service.ipv4, 80, { target: '/seen-now' })
    await page.shows('/seen-now', '.lines')
    const text = await page.value<string>('document.querySelector(".lines").innerText')
    t.match(text, /shop\/client → shop\/web GET \/seen-now 200/)
    t.notMatch(text, '/unseen')
    t.match(await page.value('document.querySelector(".command").innerText'), /weir tap --path \/seen$/)
    await page.value('document.querySelector(".lines a").click()')
    await page.until('location.hash.startsWith("#/logs?trace=")')
    t.same(strays(page), [])
  },
)

t.test('a filter that is wrong is told of', async (t) => {
  await using page = await open('#/requests?end=nobody-of-that-name')
  await page.shows('nobody-of-that-name is known here', '[role=status]')
  t.match(page.complaints, [/status of 400|WebSocket/], 'the browser says so, too')
})

t.test('logs come as they are written', async (t) => {
  await using page = await open('#/logs?pod=shop/web')
  await page.shows('the shop is open', '.lines')
  await page.shows('weir logs shop/web -f')
  webLog.write(['it has just been written'], 'stderr')
  await page.shows('! it has just been written', '.lines li:last-child')
  t.same(strays(page), [])
})

t.test('one pod is shown with its identity, certificate, policies, routes and the rules of the kernel', async (t) => {
  await using page = await open('#/pods')
  await page.shows('shop/web', 'tbody')
  await page.value(`document.querySelector('a[href="#/pod/shop/web"]').click()`)
  await page.shows('spiffe://cluster.local/ns/shop/sa/web', 'dl')
  const text = await page.value<string>('document.querySelector("main").innerText')
  t.match(text, /valid, serial [0-9A-F]+, ends in 24 h/)
  t.match(text, /shop\/only-client\s+AuthorizationPolicy\s+ALLOW, 1 rule/)
  t.match(text, /shop\/to-nowhere\s+HTTPRoute/)
  await page.value('document.querySelector("details").open = true')
  await page.shows('-j WEIR_OUTPUT', 'pre')
  const { stdout } = await agent.cli('pods', ['shop/web'])
  t.match(stdout, /\nidentity +spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web\n/)
  t.match(stdout, /\nIPv4 rules in the kernel:\n[\s\S]*-A OUTPUT .*-j WEIR_OUTPUT\n[\s\S]*\nIPv6 rules/)
  t.same(strays(page), [])
})

t.test('texts from the mesh stay texts, whatever they say', async (t) => {
  const views: [string, string][] = [
    ['#/logs?pod=shop/web', '.lines'],
    ['#/pod/shop/web', 'dl'],
    [`#/pod/shop/${encodeURIComponent(HOSTILE)}`, 'h1'],
    [`#/edges?of=${encodeURIComponent(HOSTILE)}`, 'h1'],
  ]
  for (const [place, selector] of views) {
    await using page = await open(place)
    await page.shows(HOSTILE, selector)
    t.equal(await page.value('document.querySelectorAll("main img, main script, main a[href^=javascript]").length'), 0)
    t.equal(await page.value('typeof window.pwned'), 'undefined', place)
    t.equal(page.complaints.filter((text) => !text.includes('404')).length, 0, page.complaints.join('\n'))
  }
  await using page = await open('#/requests')
  await page.shows('live', '[role=status]')
  await shop.ask(client, service.ipv4, 80, { target: `/${HOSTILE.replaceAll(' ', '+')}` })
  await page.shows('onerror="window.pwned=1"', '.lines')
  t.equal(await page.value('document.querySelectorAll(".lines img").length'), 0)
  t.equal(await page.value('typeof window.pwned'), 'undefined')
  t.same(strays(page), [])
  await t.rejects(page.value('document.body.innerHTML = "<p>"'), /TrustedHTML/, 'not even by a mistake in the page')
})

t.test(
  'names stay texts in whatever is drawn of them, and too many for a picture are left to the tables',
  async (t) => {
    await using page = await open('#/rules')
    await page.until('document.querySelector("main table")')
    const drawn = await page.value<Record<string, number>>(`(async () => {
    const [graph, tables, findings, rules, pod] = await Promise.all(
      ['graph', 'traffic-tables', 'findings', 'rules', 'pod'].map((name) => import('/assets/page/' + name + '.ts')))
    const bad = ${JSON.stringify(HOSTILE)}
    const edge = (source, destination) => ({ source, destination, service: bad, sourceIdentity: bad, destinationIdentity: bad,
      secured: true, reporter: 'source', requests: 1, requestsPerSecond: 1, connections: 0, connectionsOpened: 0, bytesPerSecond: 1 })
    const finding = { kind: bad, severity: 'critical', subject: bad, says: bad, evidence: [bad], next: bad, sinceMs: 0 }
    const view = { namespace: bad, name: bad, node: bad, addresses: [bad], labels: { [bad]: bad }, state: bad, detail: bad, proxies: [],
      identity: { spiffeId: bad, state: bad, serial: bad, notAfterMs: 1, lastError: bad }, services: [bad],
      routes: [{ kind: bad, name: bad, says: bad }], policies: [], rules: [{ family: 4, text: bad }], rulesProblem: bad }
    document.querySelector('main').append(
      graph.renderGraph([edge(bad, 'x'), edge('x', bad)], bad),
      tables.renderEdges({ edges: [edge(bad, bad)], services: [] }, ''),
      findings.renderFindings([finding], 0),
      rules.renderProblems([{ severity: bad, subject: bad, message: bad, remedy: bad }]),
      rules.renderPolicies([{ kind: bad, namespace: bad, name: bad, invalid: bad, selector: { [bad]: bad } }]),
      ...pod.renderPod(view, bad, 0),
    )
    await new Promise((resolve) => setTimeout(resolve, 100))
    const many = graph.renderGraph(Array.from({ length: 60 }, (_, at) => edge('a', 'b' + at)), '')
    return {
      texts: document.querySelector('main').textContent.split(bad).length - 1,
      elements: document.querySelectorAll('main img, main script, main a[href^=javascript]').length,
      run: Number('pwned' in window),
      picture: many.querySelectorAll('svg').length,
      instead: Number(many.textContent.startsWith('61 services talk')),
    }
  })()`)
    t.match(drawn, { elements: 0, run: 0, picture: 0, instead: 1 })
    t.ok((drawn['texts'] ?? 0) > 25, 'all of them are seen')
    t.same(strays(page), [])
  },
)

t.test('it can be used with the keyboard alone', async (t) => {
  await using _ = load()
  await using page = await open()
  await page.until('document.querySelector("a.node")')
  const focused = () =>
    page.value<string>('document.activeElement.className?.baseVal ?? document.activeElement.className')
  await page.press('Tab')
  t.equal(await focused(), 'skip')
  await page.press('Enter')
  t.equal(await page.value('document.activeElement.id'), 'main')
  for (let tries = 0; tries < 60 && !/^node/.test(await focused()); tries++) await page.press('Tab')
  t.match(await focused(), /^node/)
  t.not(await page.value('getComputedStyle(document.activeElement.querySelector("rect")).strokeWidth'), '1.5px')
  const label = await page.value<string>('document.activeElement.getAttribute("data-key")')
  // Still there after the page has been drawn again.
  const looks = () => page.asked.filter((url) => url.endsWith('/traffic')).length
  for (const before = looks(); looks() < before + 2; ) await sleep(50)
  t.equal(await page.value('document.activeElement.getAttribute("data-key")'), label)
  await page.press('Enter')
  await page.shows(`Edges of ${label}`, 'h1')
})

t.test('for those who do not see it: landmarks, one heading, names for all that can be used', async (t) => {
  await using page = await open()
  for (const view of ['now', 'edges', 'requests', 'logs', 'pods', 'rules', 'pod/shop/web']) {
    await page.value(`location.hash = "#/${view}"`)
    await page.until(
      view === 'pod/shop/web'
        ? 'document.querySelector("dl")'
        : `document.querySelector('nav [aria-current]').hash === "#/${view}"`,
    )
    const found = await page.value(`({
      h1: document.querySelectorAll('h1').length,
      landmarks: ['header', 'nav[aria-label]', 'main', '[aria-live]', '[role=alert]'].filter((one) => !document.querySelector(one)),
      unnamed: [...document.querySelectorAll('input, select, button, a, [tabindex="0"]')].filter((one) =>
        !(one.labels?.length || one.innerText?.trim() || one.getAttribute('aria-label') ||
        one.querySelector('title')?.textContent)).map((one) => one.outerHTML),
      lang: document.documentElement.lang,
    })`)
    t.same(found, { h1: 1, landmarks: [], unnamed: [], lang: 'en' }, view)
  }
})

t.test('on a phone nothing is wider than the screen, and colours are those that one has chosen', async (t) => {
  await using _ = load()
  await using page = await open()
  await page.size(360, 740)
  for (const view of ['now', 'edges', 'requests', 'logs', 'pods', 'pod/shop/web', 'rules']) {
    await page.value(`location.hash = "#/${view}"`)
    await page.until('document.querySelector("main table, main form, main dl")')
    t.equal(await page.value('document.documentElement.scrollWidth'), 360, view)
  }
  const back = () => page.value<string>('getComputedStyle(document.body).backgroundColor')
  await page.colours('dark')
  const dark = await back()
  await page.colours('light')
  t.not(await back(), dark)
  await page.value(
    `(() => { const select = document.querySelector('#theme'); select.value = 'dark'; select.dispatchEvent(new Event('change')) })()`,
  )
  t.equal(await back(), dark)
  await page.open(`${BASE}/#/pods`)
  t.equal(await back(), dark, 'it is remembered')
})

t.test('another node is shown through this one: what is wrong, its edges, its requests', async (t) => {
  await using _ = load()
  await using page = await open()
  await page.until('document.querySelector("#nodes select")')
  await page.value(
    `(() => { const select = document.querySelector('#nodes select'); select.value = 'node-2'; select.dispatchEvent(new Event('change')) })()`,
  )
  await page.until('location.hash.includes("node=node-2")')
  await page.until('document.querySelector(".edge[aria-label^=\\"shop/client to shop/far: \\"]")')
  t.equal(await page.value('document.querySelectorAll(".edge").length'), 1, 'its own edges only')
  await page.value('location.hash = "#/requests?node=node-2"')
  await page.shows('shop/client → shop/far', '.lines')
  await page.value('location.hash = "#/pod/shop/far?node=node-2"')
  await page.shows('spiffe://cluster.local/ns/shop/sa/far', 'dl')
  t.same(strays(page), [])
})

t.test('where others reach it, nothing is shown before the token is', async (t) => {
  const base = `http://${there.ipv4}:15000`
  await using page = await browser.page()
  await page.open(`${base}/#/pods`)
  await page.shows('This agent asks for a token')
  const submit = async (text: string) => {
    await page.value('document.querySelector("#token").select()')
    await page.type(text)
    await page.press('Enter')
  }
  await submit('a-wrong-token-it-is')
  await page.shows('The token is wrong')
  await submit(TOKEN)
  await page.shows('shop/far', 'tbody')
  t.equal(await page.value('document.cookie'), '', 'scripts do not see the session')
  const known = page.complaints.filter((text) => !/status of 401|DocumentCookie/.test(text))
  t.same(known, [])
  await page.value('document.querySelector("#leave").click()')
  await page.shows('This agent asks for a token')
  t.equal((await page.value<{ status: number }>('fetch("/status").then(({ status }) => ({ status }))')).status, 401)
})

t.test('all nodes are shown as one, and it is said which do not answer', async (t) => {
  await using _ = load()
  await using page = await open('#/now?node=*')
  await page.until(`document.querySelectorAll('.edge[aria-label^="shop/client to shop/far: "]').length === 1`)
  await page.until(`document.querySelector('.edge[aria-label^="shop/client to shop/web: "]')`)
  await page.shows('HTTPRoute shop/to-nowhere (node-1)', '.findings')
  await page.shows('HTTPRoute shop/to-nowhere (node-2)', '.findings')
  t.same(strays(page), [])
  await page.value('location.hash = "#/logs?node=*"')
  await page.shows('Choose one node above')
  await farAgent.stop()
  await page.value('location.hash = "#/edges?node=*"')
  await page.shows('Node node-2: The agent of node-2 does not answer')
  await page.shows('shop/web', 'tbody')
})

t.test('when the agent is gone the page says so, and goes on when it is back', async (t) => {
  await using page = await open('#/pods')
  await page.shows('shop/web', 'tbody')
  await agent.stop()
  await page.shows('does not answer; trying again', '#gone')
  t.match(await page.value('document.querySelector("tbody").innerText'), 'shop/web', 'what was known stays')
  await here.startAgent(args)
  await page.until('document.querySelector("#gone").textContent === ""')
})
