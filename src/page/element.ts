/**
 * Elements of the page. Texts come from the mesh, so anybody may have written them: they become text nodes and attribute
 * values, never markup.
 */

export type Child = Node | string
/** `undefined`: the element has no such attribute. Names are always written in the code. */
export type Attributes = Readonly<Record<string, string | undefined>>

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  fill(element, attributes, children)
  return element
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  fill(element, attributes, children)
  return element
}

function fill(element: Element, attributes: Attributes, children: readonly Child[]): void {
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, value)
  element.append(...children)
}

/**
 * Makes `current` what `wanted` is and keeps what is the same, so that focus, selection and scroll positions stay where they
 * are. What carries `data-own` belongs to whoever made it. `wanted` is used up.
 */
export function morph(current: Element, wanted: Element): void {
  const own = current.getAttribute('data-own')
  if (own !== null && own === wanted.getAttribute('data-own')) return
  for (const { name } of [...current.attributes]) {
    // Opened by whoever reads.
    if (!wanted.hasAttribute(name) && name !== 'open') current.removeAttribute(name)
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (current.getAttribute(name) !== value) current.setAttribute(name, value)
  }
  const children = [...wanted.childNodes]
  for (const [at, child] of children.entries()) {
    const known = current.childNodes[at]
    if (known === undefined) current.append(child)
    else if (known instanceof Text && child instanceof Text) {
      if (known.data !== child.data) known.data = child.data
    } else if (known instanceof Element && child instanceof Element && isSame(known, child)) morph(known, child)
    else known.replaceWith(child)
  }
  while (current.childNodes.length > children.length) current.lastChild?.remove()
}

function isSame(one: Element, other: Element): boolean {
  const mark = (element: Element) => element.getAttribute('data-own') ?? element.getAttribute('data-key')
  return one.nodeName === other.nodeName && mark(one) === mark(other)
}
