/** Where the CA learns who is asking and what runs there: files, or the cluster. */
import { type ObjectSource, openDirectorySource, type SourceReport } from '#discovery'
import { openKubernetesSource } from '#discovery/kubernetes'
import { openKubernetesApi } from '#kubernetes'
import { type KubernetesObject, renderProblem } from '#resources'
import { Publication, syncSecret } from './cluster-store.ts'
import type { NodesConfig } from './config.ts'
import { JoinTokens } from './join-tokens.ts'
import { NodeAccounts } from './node-accounts.ts'
import type { ProveNode } from './node-proof.ts'
import { TokenReviews } from './token-review.ts'

export interface Nodes extends AsyncDisposable {
  readonly prove: ProveNode
  readonly runsOn: (node: string, namespace: string, serviceAccount: string) => Promise<boolean>
  storeFor(caDir: string): CaStore
}

/** What keeps the files of the CA beyond this process's directory. */
export interface CaStore {
  /** Before a CA is made of an empty directory: one that is kept elsewhere is put there. */
  beforeOpen(): Promise<void>
  sync(): Promise<void>
}

/** Told so early that whoever waits for a start hears of it. */
const STALE_AFTER_MS = 5_000

const NOWHERE: CaStore = { beforeOpen: async () => undefined, sync: async () => undefined }

/**
 * An API server that does not answer is waited for, until `signal` says otherwise.
 * @throws WeirError when files cannot be read, or it is not said how to reach the API server
 */
export function openNodes(config: NodesConfig, warn: (line: string) => void, signal: AbortSignal): Promise<Nodes> {
  return config.kind === 'files' ? openFiles(config, warn) : openCluster(config, warn, signal)
}

async function openFiles(config: NodesConfig & { kind: 'files' }, warn: (line: string) => void): Promise<Nodes> {
  const tokens = await JoinTokens.open(config.joinTokens, warn)
  const accounts = new NodeAccounts()
  const source = await openDirectorySource({ directory: config.manifests, onChange: follow(accounts, warn) })
  return {
    prove: (token) => tokens.prove(token),
    runsOn: async (node, namespace, serviceAccount) => accounts.runsOn(node, namespace, serviceAccount),
    storeFor: () => NOWHERE,
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  }
}

async function openCluster(
  config: NodesConfig & { kind: 'kubernetes' },
  warn: (line: string) => void,
  signal: AbortSignal,
): Promise<Nodes> {
  const { kubeconfig, audience, agentAccount, secret, configMap } = config
  await using opened = new AsyncDisposableStack()
  const api = opened.use(await openKubernetesApi(kubeconfig === undefined ? {} : { kubeconfig }))
  const accounts = new NodeAccounts()
  const source: ObjectSource = await openKubernetesSource({
    api,
    only: ['Pod', 'Namespace'],
    onChange: follow(accounts, warn),
    onWaiting: follow(accounts, warn).bind(undefined, []),
    staleAfterMs: STALE_AFTER_MS,
    signal,
  })
  opened.use(source)
  const reviews = new TokenReviews({ api, audience, agentAccount, now: Date.now })
  const stack = opened.move()
  return {
    prove: (token) => reviews.prove(token),
    runsOn: (node, namespace, serviceAccount) => accounts.willRunOn(node, namespace, serviceAccount),
    storeFor: (caDir) => {
      const publication = configMap === undefined ? undefined : new Publication(api, configMap, caDir)
      const keep = async (): Promise<void> => {
        if (secret !== undefined) await syncSecret(api, secret, caDir)
      }
      return {
        beforeOpen: keep,
        sync: async () => {
          await keep()
          await publication?.exchange()
        },
      }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

function follow(accounts: NodeAccounts, warn: (line: string) => void) {
  let told: ReadonlySet<string> = new Set()
  return (objects: readonly KubernetesObject[], report: SourceReport): void => {
    accounts.update(objects)
    const problems = new Set(report.problems.map(renderProblem))
    for (const problem of problems) if (!told.has(problem)) warn(problem)
    told = problems
  }
}
