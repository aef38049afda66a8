/** What is told of traffic between two ends: metric handles, the fixed fields of the access log, and what spans name. */
import type { MeshService, PeerIdentity, TracingSettings, Workload } from '#contract'
import { spiffeId } from '#identity'
import {
  type AccessEdge,
  type AccessLog,
  type EdgeCache,
  type EdgeDescription,
  REPORT_BOTH,
  REPORT_SOURCE,
  type Reporters,
  UNKNOWN,
  UNKNOWN_SERVICE,
  UNKNOWN_WORKLOAD,
  type WorkloadLabels,
} from '#telemetry'
import type { TracedPeer } from '#tracing'
import type { ExchangeTarget } from './exchange-target.ts'

export interface EdgeEnds {
  readonly client: Workload | undefined
  readonly workload: Workload | undefined
  readonly service: MeshService | undefined
  /** The verified peer, where the client is not known by name. */
  readonly source?: PeerIdentity | undefined
  /** Both ends are proven to each other. */
  readonly secured: boolean
  readonly reporters: Reporters
  readonly direction: 'outbound' | 'inbound'
}

export type EdgeHandles = Pick<
  ExchangeTarget,
  'edge' | 'tcpEdge' | 'grpcEdge' | 'access' | 'tcpAccess' | 'grpcAccess' | 'traced'
>

export class TargetEdges {
  readonly #trustDomain: string
  readonly #tracing: TracingSettings | undefined
  readonly #edges: EdgeCache
  readonly #log: AccessLog

  constructor(trustDomain: string, tracing: TracingSettings | undefined, edges: EdgeCache, log: AccessLog) {
    this.#trustDomain = trustDomain
    this.#tracing = tracing
    this.#edges = edges
    this.#log = log
  }

  handles(ends: EdgeEnds): EdgeHandles {
    const { client, workload, service, reporters } = ends
    const host = service === undefined ? UNKNOWN : hostOf(service)
    const description: EdgeDescription = {
      source: this.#labels(client),
      // Only who has proven it has a principal: what is called in plain text has not.
      destination: withPrincipal(this.#labels(workload), ends.secured || ends.direction === 'inbound'),
      service: service === undefined ? UNKNOWN_SERVICE : { host, name: service.name, namespace: service.namespace },
      protocol: 'http',
      securityPolicy: ends.secured ? 'mutual_tls' : 'none',
    }
    return {
      edge: this.#edges.request(description),
      tcpEdge: this.#edges.tcp({ ...description, protocol: 'tcp' }),
      grpcEdge: this.#edges.request({ ...description, protocol: 'grpc' }),
      access: this.#access(ends, 'http'),
      tcpAccess: this.#access(ends, 'tcp'),
      grpcAccess: this.#access(ends, 'grpc'),
      traced:
        this.#tracing === undefined
          ? undefined
          : {
              source: tracedPeer(client),
              destination: tracedPeer(workload),
              host: service === undefined ? '' : host,
              sides: reporters === REPORT_BOTH ? 'both' : reporters === REPORT_SOURCE ? 'client' : 'server',
            },
    }
  }

  #access(ends: EdgeEnds, protocol: 'http' | 'tcp' | 'grpc'): AccessEdge {
    const { client, workload, service, source, reporters } = ends
    return this.#log.edge({
      source: client === undefined ? '' : `${client.namespace}/${client.name}`,
      sourceIdentity: source === undefined ? this.#identity(client) : `spiffe://${source.principal}`,
      destination: workload === undefined ? '' : `${workload.namespace}/${workload.name}`,
      destinationIdentity: workload?.optedIn === true ? this.#identity(workload) : '',
      destinationService: service === undefined ? '' : hostOf(service),
      protocol,
      direction: ends.direction,
      reporter: reporters === REPORT_BOTH ? 'both' : reporters === REPORT_SOURCE ? 'source' : 'destination',
    })
  }

  #identity(workload: Workload | undefined): string {
    return workload === undefined ? '' : spiffeId(this.#trustDomain, workload.namespace, workload.serviceAccount)
  }

  #labels(workload: Workload | undefined): WorkloadLabels {
    if (workload === undefined) return UNKNOWN_WORKLOAD
    return {
      namespace: workload.namespace,
      workload: workload.owner,
      app: workload.app,
      version: workload.version,
      principal: workload.optedIn ? this.#identity(workload) : UNKNOWN,
    }
  }
}

/** As metrics name it. */
function tracedPeer(workload: Workload | undefined): TracedPeer | undefined {
  if (workload === undefined) return undefined
  const { namespace, name, uid, owner, version } = workload
  return { namespace, pod: name, uid, service: owner, version: version === UNKNOWN ? '' : version }
}

function hostOf({ name, namespace, external }: MeshService): string {
  return external === undefined ? `${name}.${namespace}.svc.cluster.local` : name
}

function withPrincipal(labels: WorkloadLabels, isProven: boolean): WorkloadLabels {
  return isProven || labels.principal === UNKNOWN ? labels : { ...labels, principal: UNKNOWN }
}
