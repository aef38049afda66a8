/**
 * The three functions of the Reflect metadata proposal that `@peculiar/x509` needs to be there before it is loaded
 * (its dependency container keeps class parameters in them). Left alone where something better is installed.
 */

type Table = WeakMap<object, Map<unknown, unknown>>

const own: Table = new WeakMap()

function getOwnMetadata(key: unknown, target: object): unknown {
  return own.get(target)?.get(key)
}

function defineMetadata(key: unknown, value: unknown, target: object): void {
  const table = own.get(target) ?? new Map<unknown, unknown>()
  own.set(target, table.set(key, value))
}

function getMetadata(key: unknown, target: object): unknown {
  for (let holder: object | null = target; holder !== null; holder = Object.getPrototypeOf(holder) as object | null) {
    const table = own.get(holder)
    if (table?.has(key)) return table.get(key)
  }
  return undefined
}

if (!('getMetadata' in Reflect)) Object.assign(Reflect, { getOwnMetadata, defineMetadata, getMetadata })
