export * from './body.ts'
export type { ByteStream, StreamOwner } from './byte-stream.ts'
export { ChunkGather } from './chunk-gather.ts'
export { type HelloReading, MAX_HELLO_BYTES, readClientHello } from './client-hello.ts'
export * from './detect.ts'
export { GrpcMessages } from './grpc-messages.ts'
export {
  H2_CANCEL,
  H2_CONNECT_ERROR,
  H2_ENHANCE_YOUR_CALM,
  H2_INTERNAL_ERROR,
  H2_NO_ERROR,
  H2_PROTOCOL_ERROR,
  H2_REFUSED_STREAM,
  h2ErrorName,
} from './h2/errors.ts'
export { DEFAULT_HTTP2_LIMITS, type Http2Limits, type Rate } from './h2/limits.ts'
export { Http2Session } from './h2/session.ts'
export type { Http2SessionOptions, Http2Transport } from './h2/session-options.ts'
export { H2Stream, type Http2StreamOwner } from './h2/stream.ts'
export * from './head.ts'
export * from './latin1.ts'
export { isProtected } from './protected-names.ts'
