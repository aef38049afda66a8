/** Reads YAML as the sources do, for tests of what becomes of it. */

import { parse } from 'yaml'
import { type KubernetesObject, type ParseOutcome, parseObject, renderProblem } from '#resources'

export function outcomeOf(text: string): ParseOutcome {
  return parseObject(parse(text))
}

export function objectOf(text: string): KubernetesObject {
  const outcome = outcomeOf(text)
  if (outcome.kind !== 'object') throw new Error(`${outcome.kind}: ${linesOf(outcome).join('; ')}`)
  return outcome.object
}

/** The problems as the user reads them, without what comes of them. */
export function problemsOf(text: string): string[] {
  return linesOf(outcomeOf(text)).map((line) => line.replace(/; until it is mended .*$/, ''))
}

function linesOf(outcome: ParseOutcome): string[] {
  return outcome.kind === 'ignored' ? [] : outcome.problems.map(renderProblem)
}

export function indent(text: string, spaces: number): string {
  return text
    .trim()
    .split('\n')
    .map((line) => ' '.repeat(spaces) + line)
    .join('\n')
}

/** An AuthorizationPolicy shop/web with this spec. */
export function policy(spec: string, apiVersion = 'weir.dev/v1alpha1', kind = 'AuthorizationPolicy'): string {
  return `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { name: web, namespace: shop }\nspec:\n${indent(spec, 2)}\n`
}

/** An HTTPRoute shop/web with this spec beside its parent, Service web. */
export function route(spec: string, apiVersion = 'gateway.networking.k8s.io/v1'): string {
  const parent = 'parentRefs: [{ group: "", kind: Service, name: web }]'
  return `apiVersion: ${apiVersion}\nkind: HTTPRoute\nmetadata: { name: web, namespace: shop }\nspec:\n  ${parent}\n${indent(spec, 2)}\n`
}
