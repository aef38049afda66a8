export { type B3, B3_HEADERS, readB3 } from './b3.ts'
export { readTraceparent, renderTraceparent, type TraceContext } from './traceparent.ts'
