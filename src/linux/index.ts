export { dropPrivileges, heldCapabilities, setNoNewPrivileges } from './drop-privileges.ts'
export { openFdChannel, receiveFds, sendFds } from './fd-passing.ts'
export { lockFile } from './file-lock.ts'
export { legacyTableSize, openLegacyTablesSocket } from './legacy-tables.ts'
export { LinuxError } from './libc.ts'
export { trimMemory } from './malloc.ts'
export { nftablesGeneration, openNetfilterSocket } from './netlink.ts'
export { netnsIdentity, netnsInode, openNetns, withNetns } from './netns.ts'
export { originalDestination } from './original-destination.ts'
export { acceptPackets, connectPackets, listenPackets } from './packet-socket.ts'
export { findPolicyRoute } from './policy-route.ts'
export { openRouteWatch, takeRouteChange } from './route-watch.ts'
export {
  bindSocket,
  closeFd,
  connectSocket,
  duplicateFd,
  getMark,
  holdForFin,
  isBroken,
  isListening,
  isReceiving,
  listenSocket,
  openTcpSocket,
  openUdpSocket,
  sendFin,
  setIpv6Only,
  setMark,
  setReuseAddress,
  setTransparent,
  shutdownSocket,
  takeSocketError,
} from './socket.ts'
export { decodeSocketAddress, encodeSocketAddress, type SocketAddress } from './socket-address.ts'
export { MAX_FDS_PER_PACKET, MAX_PACKET_BYTES, type Packet, receivePacket, sendPacket } from './unix-message.ts'
