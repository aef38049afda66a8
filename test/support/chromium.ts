/**
 * Headless Chromium in a network namespace of a lab, spoken to over a pair of pipes (the DevTools protocol), so that it needs
 * no port and no network but that of the lab.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inNetns } from './lab-network.ts'

const PROGRAM = '/usr/bin/chromium-headless-shell'
const PATIENCE_MS = 40_000
const LOOK_MS = 50

interface Message {
  readonly id?: number
  readonly sessionId?: string
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly result?: Record<string, unknown>
  readonly error?: { readonly message: string }
}

type Told = (method: string, params: Record<string, unknown>) => void

export class Chromium implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #home: string
  readonly #waiting = new Map<number, PromiseWithResolvers<Record<string, unknown>>>()
  readonly #sessions = new Map<string, Told>()
  #lastId = 0

  private constructor(child: ChildProcess, home: string) {
    this.#child = child
    this.#home = home
    let text = ''
    child.stdio[4]?.on('data', (chunk: Buffer) => {
      const parts = (text + chunk.toString('latin1')).split('\0')
      text = parts.pop() ?? ''
      for (const part of parts) this.#take(JSON.parse(Buffer.from(part, 'latin1').toString()) as Message)
    })
    child.stdio[3]?.on('error', () => {})
    child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('Chromium has ended'))
    })
  }

  /** @param netns name of the network namespace it runs in */
  static start(netns: string): Chromium {
    const home = mkdtempSync(join(tmpdir(), 'weir-chromium-'))
    const [file, args] = inNetns(netns, PROGRAM, [
      '--no-sandbox',
      '--remote-debugging-pipe',
      `--user-data-dir=${home}`,
      '--no-first-run',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--disable-background-networking',
      '--disable-component-update',
      '--hide-scrollbars',
    ])
    const stdio = ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] as const
    return new Chromium(spawn(file, args, { stdio: [...stdio] }), home)
  }

  #take({ id, sessionId, method, params, result, error }: Message): void {
    if (id === undefined) {
      if (method !== undefined) this.#sessions.get(sessionId ?? '')?.(method, params ?? {})
      return
    }
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(result ?? {})
    else waiting?.reject(new Error(error.message))
  }

  /** One command of the DevTools protocol. */
  send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    this.#lastId += 1
    const waiting = Promise.withResolvers<Record<string, unknown>>()
    this.#waiting.set(this.#lastId, waiting)
    const pipe = this.#child.stdio[3]
    const message = { id: this.#lastId, method, params, ...(sessionId === undefined ? {} : { sessionId }) }
    if (pipe !== null && pipe !== undefined && 'write' in pipe) pipe.write(`${JSON.stringify(message)}\0`)
    return waiting.promise
  }

  /** A page of its own, without cookies or storage of others. */
  async page(): Promise<ChromiumPage> {
    const { browserContextId } = await this.send('Target.createBrowserContext')
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', browserContextId })
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true })
    const page = new ChromiumPage(
      (method, params) => this.send(method, params, String(sessionId)),
      () => this.send('Target.disposeBrowserContext', { browserContextId }),
    )
    this.#sessions.set(String(sessionId), (method, params) => page.told(method, params))
    for (const domain of ['Page', 'Runtime', 'Log', 'Network', 'Audits']) await page.send(`${domain}.enable`)
    return page
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit')
      this.#child.kill('SIGKILL')
      await ended
    }
    // Its own children end with it, and may still write for a moment.
    rmSync(this.#home, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }
}

export class ChromiumPage implements AsyncDisposable {
  /** Errors, warnings and refusals of any kind that the browser told of. */
  readonly complaints: string[] = []
  /** Addresses that were asked, in order. */
  readonly asked: string[] = []
  readonly send: (method: string, params?: object) => Promise<Record<string, unknown>>

  readonly #close: () => Promise<unknown>

  constructor(
    send: (method: string, params?: object) => Promise<Record<string, unknown>>,
    close: () => Promise<unknown>,
  ) {
    this.send = send
    this.#close = close
  }

  /** Its connections end with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
  }

  told(method: string, params: Record<string, unknown>): void {
    const text = () => JSON.stringify(params)
    // Of history: that a page went on without a click of a person.
    const isHistory = text().includes('NavigationEntryMarkedSkippable')
    if (method === 'Audits.issueAdded' && !isHistory) this.complaints.push(text())
    if (method === 'Runtime.exceptionThrown') this.complaints.push(text())
    if (method === 'Runtime.consoleAPICalled' && params['type'] !== 'log') this.complaints.push(text())
    if (method === 'Log.entryAdded') this.complaints.push(text())
    if (method === 'Page.javascriptDialogOpening') this.complaints.push(text())
    if (method === 'Network.requestWillBeSent') this.asked.push(String(field(params['request'], 'url')))
    if (method === 'Network.webSocketCreated') this.asked.push(String(params['url']))
  }

  async open(url: string): Promise<void> {
    const { errorText } = await this.send('Page.navigate', { url })
    if (errorText !== undefined) throw new Error(`${url}: ${String(errorText)}`)
    await this.until('document.readyState === "complete"')
  }

  /** The value of an expression in the page, as JSON has it. */
  async value<T>(expression: string): Promise<T> {
    const answer = await this.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true })
    if (answer['exceptionDetails'] !== undefined) {
      throw new Error(`${expression}: ${JSON.stringify(answer['exceptionDetails'])}`)
    }
    return field(answer['result'], 'value') as T
  }

  /** Waits until an expression holds; fails with the text of the page. */
  async until(expression: string, timeoutMs = PATIENCE_MS): Promise<void> {
    const expired = AbortSignal.timeout(timeoutMs)
    for (;;) {
      if (await this.value<boolean>(`Boolean(${expression})`).catch(() => false)) return
      if (expired.aborted) {
        const text = await this.value<string>('location.href + "\\n" + document.body.innerText')
        throw new Error(`Not within ${timeoutMs} ms: ${expression}\n${text}\n${this.complaints.join('\n')}`)
      }
      await sleep(LOOK_MS)
    }
  }

  /** Waits until the page shows a text. */
  shows(text: string, selector = 'body'): Promise<void> {
    // Pictures have no innerText.
    const found = `((one) => one?.innerText ?? one?.textContent ?? '')(document.querySelector(${JSON.stringify(selector)}))`
    return this.until(`${found}.includes(${JSON.stringify(text)})`)
  }

  /** As a key of a keyboard; letters and digits too. */
  async press(key: string, modifiers = 0): Promise<void> {
    const code = KEY_CODES[key] ?? key.toUpperCase().charCodeAt(0)
    const text = key === 'Enter' ? '\r' : key.length === 1 ? key : undefined
    const shared = { key, code: key, windowsVirtualKeyCode: code, modifiers }
    await this.send('Input.dispatchKeyEvent', { type: text === undefined ? 'rawKeyDown' : 'keyDown', text, ...shared })
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...shared })
  }

  async type(text: string): Promise<void> {
    await this.send('Input.insertText', { text })
  }

  async size(width: number, height: number): Promise<void> {
    await this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 })
  }

  async colours(scheme: 'light' | 'dark'): Promise<void> {
    const features = [{ name: 'prefers-color-scheme', value: scheme }]
    await this.send('Emulation.setEmulatedMedia', { features })
  }

  async picture(): Promise<Buffer> {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: false })
    return Buffer.from(String(data), 'base64')
  }
}

const KEY_CODES: Readonly<Record<string, number>> = { Tab: 9, Enter: 13, Escape: 27, ' ': 32, ArrowDown: 40 }

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
}
