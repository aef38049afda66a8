export * from './body.ts'
export * from './detect.ts'
export * from './head.ts'
export * from './latin1.ts'
