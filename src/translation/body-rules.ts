/**
 * Rules of a version applied to a JSON document, one after another. What a rule names and the document does not have is
 * left alone; what cannot be put where a rule wants it (into something that is no object) is a problem, and the document
 * must then not be used. What is added is bounded: an array of a small body can have very many elements.
 */
import type { BodyRule, JsonPath } from '#contract'
import { JsonArray, type JsonNode, JsonObject, parseJson } from './json-document.ts'

/** A rule with its values parsed, compiled once. */
export type CompiledRule =
  | { readonly type: 'Rename'; readonly parent: JsonPath; readonly name: string; readonly to: string }
  | {
      readonly type: 'Move'
      /** What both places have in common, up to the last wildcard. */
      readonly anchor: JsonPath
      readonly from: readonly string[]
      readonly to: readonly string[]
    }
  | { readonly type: 'Remove'; readonly parent: JsonPath; readonly name: string | null }
  | {
      readonly type: 'Default' | 'Set'
      readonly parent: JsonPath
      readonly name: string
      readonly value: () => JsonNode
      /** Length of its text. */
      readonly characters: number
    }

/** Rules are valid: `BodyRule`s come from a policy that was checked. */
export function compileRule(rule: BodyRule): CompiledRule {
  switch (rule.type) {
    case 'Rename': {
      const { parent, name } = split(rule.path)
      return { type: 'Rename', parent, name: name ?? '', to: rule.to }
    }
    case 'Move': {
      const anchored = rule.from.lastIndexOf(null) + 1
      const relative = (path: JsonPath) => path.slice(anchored).map((token) => token ?? '')
      return {
        type: 'Move',
        anchor: rule.from.slice(0, anchored),
        from: relative(rule.from),
        to: relative(rule.to),
      }
    }
    case 'Remove':
      return { type: 'Remove', ...split(rule.path) }
    default: {
      const { parent, name } = split(rule.path)
      const { value } = rule
      // Parsed anew for each place: a later rule may write into one of them.
      const make = () => {
        const parsed = parseJson(value)
        return parsed.ok ? parsed.root : 'null'
      }
      const first = make()
      return {
        type: rule.type,
        parent,
        name: name ?? '',
        characters: value.length,
        value: typeof first === 'string' ? () => first : make,
      }
    }
  }
}

function split(path: JsonPath): { readonly parent: JsonPath; readonly name: string | null } {
  return { parent: path.slice(0, -1), name: path.at(-1) ?? null }
}

export type RulesOutcome = 'ok' | 'too-large' | { readonly problem: string }

/** Changes the document, adding at most `maxCharacters` to it. */
export function applyRules(root: JsonNode, rules: readonly CompiledRule[], maxCharacters: number): RulesOutcome {
  const edit = new Edit(maxCharacters)
  for (const rule of rules) {
    each(root, placeOf(rule), 0, (node) => edit.apply(rule, node))
    if (edit.left < 0) return 'too-large'
    if (edit.problem !== '') return { problem: edit.problem }
  }
  return 'ok'
}

function placeOf(rule: CompiledRule): JsonPath {
  return rule.type === 'Move' ? rule.anchor : rule.parent
}

/** All that a path leads to. */
function each(node: JsonNode, path: JsonPath, from: number, visit: (node: JsonNode) => void): void {
  let here = node
  for (let i = from; i < path.length; i++) {
    const token = path[i] as string | null
    if (token === null) {
      if (here instanceof JsonArray) for (const item of here.items) each(item, path, i + 1, visit)
      return
    }
    const next = child(here, token)
    if (next === undefined) return
    here = next
  }
  visit(here)
}

/** RFC 6901 section 4: an index has no leading zeros. */
const INDEX = /^(?:0|[1-9][0-9]{0,8})$/

function child(node: JsonNode, token: string): JsonNode | undefined {
  if (node instanceof JsonObject) return node.values[node.indexOf(token)]
  if (node instanceof JsonArray && INDEX.test(token)) return node.items[Number(token)]
  return undefined
}

class Edit {
  /** Characters that may still be added; below zero it has stopped. */
  left: number
  problem = ''

  constructor(maxCharacters: number) {
    this.left = maxCharacters
  }

  apply(rule: CompiledRule, node: JsonNode): void {
    if (this.left < 0 || this.problem !== '') return
    switch (rule.type) {
      case 'Rename':
        rename(node, rule.name, rule.to)
        break
      case 'Move':
        this.#move(node, rule.from, rule.to)
        break
      case 'Remove':
        remove(node, rule.name)
        break
      default: {
        if (!(node instanceof JsonObject)) return
        const at = node.indexOf(rule.name)
        if (at >= 0 && rule.type === 'Default') return
        if (this.#mayAdd(rule.name.length + rule.characters)) this.#put(node, at, rule.name, rule.value())
      }
    }
  }

  #mayAdd(characters: number): boolean {
    this.left -= characters + MEMBER_CHARACTERS
    return this.left >= 0
  }

  #put(object: JsonObject, at: number, name: string, value: JsonNode): void {
    if (at < 0) object.add(name, value)
    else object.values[at] = value
  }

  /** Objects on the way that are missing are made. */
  #move(anchor: JsonNode, from: readonly string[], to: readonly string[]): void {
    const source = within(anchor, from.slice(0, -1))
    const name = from.at(-1) ?? ''
    if (!(source instanceof JsonObject)) return
    const at = source.indexOf(name)
    const value = source.values[at]
    if (value === undefined) return
    const last = to.at(-1) ?? ''
    if (to.length === from.length && to.slice(0, -1).every((token, i) => token === from[i])) {
      rename(source, name, last)
      return
    }
    source.removeAt(at)
    let place: JsonNode | undefined = anchor
    for (const token of to.slice(0, -1)) {
      let next = child(place, token)
      if (next === undefined && place instanceof JsonObject) {
        if (!this.#mayAdd(token.length)) return
        next = new JsonObject()
        place.add(token, next)
      }
      place = next
      if (place === undefined) break
    }
    if (place instanceof JsonObject) this.#put(place, place.indexOf(last), last, value)
    else this.problem = `there is no object that ${JSON.stringify(last)} could be moved into`
  }
}

/** Quotes, colon and comma. */
const MEMBER_CHARACTERS = 4

/** In its place; a member that has the new name already goes. */
function rename(node: JsonNode, name: string, to: string): void {
  if (!(node instanceof JsonObject) || name === to || node.indexOf(name) < 0) return
  const other = node.indexOf(to)
  if (other >= 0) node.removeAt(other)
  const at = node.indexOf(name)
  node.names[at] = to
  node.sources[at] = JSON.stringify(to)
}

function remove(node: JsonNode, name: string | null): void {
  if (node instanceof JsonObject) {
    const at = name === null ? -1 : node.indexOf(name)
    if (at >= 0) node.removeAt(at)
  } else if (node instanceof JsonArray) {
    if (name === null) node.items.length = 0
    else if (INDEX.test(name) && Number(name) < node.items.length) node.items.splice(Number(name), 1)
  }
}

function within(node: JsonNode, path: readonly string[]): JsonNode | undefined {
  let here: JsonNode | undefined = node
  for (const token of path) {
    if (here === undefined) return undefined
    here = child(here, token)
  }
  return here
}
