/** `NAME=HOST:PORT,HOST:PORT,…`: agents of other nodes; one without a name is called by its address. */

/** Undefined: not such a list. Empty text is an empty list. */
export function parsePeers(text: string): ReadonlyMap<string, string> | undefined {
  const peers = new Map<string, string>()
  for (const part of text === '' ? [] : text.split(',')) {
    const [, name, address = '', port = ''] =
      /^(?:([a-z0-9][a-z0-9.-]{0,252})=)?((?:\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5}))$/.exec(part.trim()) ?? []
    const called = name ?? address
    if (address === '' || Number(port) > 65_535 || Number(port) === 0 || peers.has(called)) return undefined
    peers.set(called, address)
  }
  return peers
}
