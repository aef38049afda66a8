/** What the agent has to do with the CNI plugin and with container runtimes. */
import { join, resolve } from 'node:path'
import { CRI_SOCKETS_DEFAULT } from '../cri/netns-lookup.ts'
import { anyText, pathOf, type Subject } from './flag.ts'

/** What the agent and the CNI plugin have to do with each other. */
export interface CniConfig {
  /** Where the plugin asks; undefined: nowhere. */
  readonly socket: string | undefined
  /** The node's network configuration; undefined: the agent has no business there. */
  readonly confDir: string | undefined
  /** Where the node's plugins are; undefined: ours is not installed. */
  readonly binDir: string | undefined
  /** The executable that is installed. */
  readonly plugin: string
}

export interface CniSettings {
  readonly cni: CniConfig
  /** Sockets of container runtimes, the likeliest first. */
  readonly criSockets: readonly string[]
}

const PLUGIN_DEFAULT = join(import.meta.dirname, '../../dist/weir-cni')
/** As `sockaddr_un` has it, unix(7). */
const MAX_SOCKET_PATH_BYTES = 107

export const CNI: Subject<CniSettings> = {
  flags: {
    'cni-conf-dir': {
      value: 'DIR',
      says: "the node's network configuration, as /etc/cni/net.d: what the CNI plugin goes by while the agent is away is written there",
      wrong: anyText,
    },
    'cni-bin-dir': {
      value: 'DIR',
      says: 'with --cni-conf-dir: put the CNI plugin there, as /opt/cni/bin, and chain it into the configuration',
      wrong: anyText,
    },
    'cni-plugin': {
      value: 'FILE',
      says: 'the executable to install',
      default: PLUGIN_DEFAULT,
      defaultSays: 'dist/weir-cni of Weir',
      wrong: anyText,
    },
    'cni-socket': {
      value: 'PATH',
      says: 'where the CNI plugin asks this agent, or none',
      defaultSays: 'STATE-DIR/cni.sock',
      wrong: (value) => {
        const isTooLong = Buffer.byteLength(resolve(value)) > MAX_SOCKET_PATH_BYTES
        return isTooLong ? `must not be longer than ${MAX_SOCKET_PATH_BYTES} bytes as an absolute path` : anyText(value)
      },
    },
    'cri-socket': {
      value: 'PATH[,PATH]',
      says: 'sockets of container runtimes, to find pods that were there first',
      default: CRI_SOCKETS_DEFAULT.join(','),
      wrong: anyText,
    },
  },
  wrong: (given) =>
    given.has('cni-bin-dir') && !given.has('cni-conf-dir')
      ? ['--cni-conf-dir: needed with --cni-bin-dir; give it as --cni-conf-dir /etc/cni/net.d.']
      : [],
  read: (given) => ({
    cni: {
      socket:
        given.text('cni-socket') === 'none'
          ? undefined
          : (pathOf(given, 'cni-socket') ?? resolve(given.text('state-dir'), 'cni.sock')),
      confDir: pathOf(given, 'cni-conf-dir'),
      binDir: pathOf(given, 'cni-bin-dir'),
      plugin: resolve(given.text('cni-plugin')),
    },
    criSockets: given.text('cri-socket').split(','),
  }),
}
