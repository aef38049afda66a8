/** How the plugin ends: what it prints for the runtime, and the error codes of the CNI specification. */

export const SUPPORTED_VERSIONS: readonly string[] = ['0.3.1', '0.4.0', '1.0.0', '1.1.0']
export const PREFERRED_VERSION = '1.1.0'

/** CNI 1.1.0, section 5, "Error"; from 100 on they are a plugin's own. */
export const ERROR_CODE = {
  incompatibleVersion: 1,
  invalidEnvironment: 4,
  undecodable: 6,
  invalidConfiguration: 7,
  tryAgainLater: 11,
  notEnrolled: 100,
  internal: 999,
} as const

export interface Outcome {
  readonly exitCode: 0 | 1
  /** JSON or nothing. */
  readonly stdout: string
  /** Runtimes log it. */
  readonly stderr: string
}

export function success(result?: object, stderr = ''): Outcome {
  return { exitCode: 0, stdout: result === undefined ? '' : `${JSON.stringify(result)}\n`, stderr }
}

export function failure(cniVersion: string, code: number, msg: string, details?: string): Outcome {
  const error = { cniVersion, code, msg, ...(details === undefined ? {} : { details }) }
  return { exitCode: 1, stdout: `${JSON.stringify(error)}\n`, stderr: '' }
}
