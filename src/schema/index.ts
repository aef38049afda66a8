/** Reads what people wrote (a manifest, a file of rules) as typed values, and says with exact paths what does not fit. Pure. */
export { checkDuration, durationWithin, parseDurationMs } from './duration.ts'
export { nearestName } from './nearest-name.ts'
export {
  boolean,
  type Check,
  FAILED,
  type Issue,
  integer,
  isRecord,
  list,
  map,
  mapped,
  type Output,
  object,
  oneOf,
  optional,
  port,
  refine,
  type Schema,
  type Strictness,
  string,
  stringOrInteger,
  typeName,
  withDefault,
} from './schema.ts'
