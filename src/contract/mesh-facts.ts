/**
 * What the mesh itself knows of a request, by names that a route can match like headers. Nobody can send them: `x-weir-*`
 * of a client counts for nothing and goes no further.
 */

/** The version of the API by the TrafficPolicy of the Service that is called. */
export const API_VERSION_FACT = 'x-weir-api-version'

/** Of the calling pod. */
export const SOURCE_NAMESPACE_FACT = 'x-weir-source-namespace'
export const SOURCE_SERVICE_ACCOUNT_FACT = 'x-weir-source-service-account'
/** The Deployment, StatefulSet, …, or the pod itself. */
export const SOURCE_WORKLOAD_FACT = 'x-weir-source-workload'
/** Followed by a label's key in lower case, `/` in it written `~1`. */
export const SOURCE_LABEL_FACT = 'x-weir-source-label-'

const MESH_NAME = 'x-weir-'
const FACTS: readonly string[] = [
  API_VERSION_FACT,
  SOURCE_NAMESPACE_FACT,
  SOURCE_SERVICE_ACCOUNT_FACT,
  SOURCE_WORKLOAD_FACT,
]

export function isMeshName(lowerCaseName: string): boolean {
  return lowerCaseName.startsWith(MESH_NAME)
}

/** Whether a name that only the mesh can say stands for anything. */
export function isMeshFact(lowerCaseName: string): boolean {
  return (
    FACTS.includes(lowerCaseName) ||
    (lowerCaseName.startsWith(SOURCE_LABEL_FACT) && lowerCaseName.length > SOURCE_LABEL_FACT.length)
  )
}

/** For messages. */
export const MESH_FACT_NAMES = `${FACTS.join(', ')} and ${SOURCE_LABEL_FACT}KEY`
