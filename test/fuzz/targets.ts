/** Everything that is fuzzed. */
import type { FuzzTarget } from './target.ts'
import { alertExpressions } from './targets/alert-expressions.ts'
import { clientHello } from './targets/client-hello.ts'
import { dns } from './targets/dns.ts'
import { h2Session } from './targets/h2-session.ts'
import { hpack } from './targets/hpack.ts'
import { http1Body } from './targets/http1-body.ts'
import { http1Detect } from './targets/http1-detect.ts'
import { http1Head } from './targets/http1-head.ts'
import { json } from './targets/json.ts'
import { manifests } from './targets/manifests.ts'
import { paths } from './targets/paths.ts'
import { regex } from './targets/regex.ts'
import { routes } from './targets/routes.ts'

export const targets: readonly FuzzTarget[] = [
  http1Head,
  http1Body,
  http1Detect,
  hpack,
  h2Session,
  json,
  manifests,
  routes,
  regex,
  paths,
  dns,
  clientHello,
  alertExpressions,
]
