/** Sources of Kubernetes objects. */

export type { DirectorySourceOptions } from './directory-source.ts'
export { openDirectorySource } from './directory-source.ts'
export { type ObjectChange, ObjectSet } from './object-set.ts'
export type { ObjectSource, OnChange, SourceOptions, SourceReport } from './source.ts'
export { SourceError } from './source.ts'
export { unchangedOr } from './unchanged.ts'
export { describeYamlError } from './yaml-error.ts'
