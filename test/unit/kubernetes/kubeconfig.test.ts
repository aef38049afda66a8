import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openKubernetesApi } from '#kubernetes'

interface Parts {
  readonly cluster?: object
  readonly user?: object
  readonly others?: object
}

function kubeconfig({ cluster = {}, user = {}, others = {} }: Parts): string {
  return JSON.stringify({
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
    clusters: [{ name: 'k', cluster: { server: 'https://api.example:6443', ...cluster } }],
    users: [{ name: 'u', user }],
    ...others,
  })
}

t.test('What a kubeconfig cannot be used for is refused in one line, with the field and the remedy', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-kubeconfig-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const path = join(directory, 'config')
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['no YAML', '{', /^Cannot read the kubeconfig /],
    ['an empty file', '', /: current-context is not set: choose one with kubectl config use-context$/],
    ['a context that is not there', kubeconfig({ others: { contexts: [] } }), /: contexts has no entry named c$/],
    ['a cluster that is not there', kubeconfig({ others: { clusters: null } }), /: clusters has no entry named k$/],
    ['a user that is not there', kubeconfig({ others: { users: [{}] } }), /: users has no entry named u$/],
    ['no server', kubeconfig({ cluster: { server: '' } }), /: clusters\[k\]\.cluster\.server is missing$/],
    [
      'a server of another type',
      kubeconfig({ cluster: { server: 7 } }),
      /cluster\.server: expected a string, got number$/,
    ],
    [
      'a server that is no URL',
      kubeconfig({ cluster: { server: 'api' } }),
      /expected the URL of an API server, got "api"$/,
    ],
    ['no TLS', kubeconfig({ cluster: { server: 'http://api.example' } }), /without TLS: use https/],
    ['an odd scheme', kubeconfig({ cluster: { server: 'ftp://127.0.0.1' } }), /expected an https URL/],
    ['a password in the URL', kubeconfig({ cluster: { server: 'https://a:b@x' } }), /password in the URL/],
    [
      'no verification',
      kubeconfig({ cluster: { 'insecure-skip-tls-verify': true } }),
      /insecure-skip-tls-verify: anybody could answer for api\.example:6443: give certificate-authority instead$/,
    ],
    ['a proxy', kubeconfig({ cluster: { 'proxy-url': 'http://x' } }), /proxy-url: proxies are not supported/],
    [
      'a plugin',
      kubeconfig({ user: { exec: { command: 'aws' } } }),
      /users\[u\]\.user\.exec: plugins that run a program are not supported: create a service account token/,
    ],
    ['an auth provider', kubeconfig({ user: { 'auth-provider': {} } }), /auth-provider: .* not supported/],
    ['a password', kubeconfig({ user: { username: 'a', password: 'b' } }), /username: passwords are not supported/],
    ['impersonation', kubeconfig({ user: { as: 'root' } }), /as: impersonation is not supported/],
    [
      'a file that is not there',
      kubeconfig({ user: { tokenFile: 'token' } }),
      /^Cannot read \S+\/token: ENOENT.*: it is users\[u\]\.user\.tokenFile of /,
    ],
    [
      'a certificate that is none',
      kubeconfig({ cluster: { 'certificate-authority-data': 'eA==' }, user: { 'client-certificate-data': 'eA==' } }),
      /^Cannot use the certificates for https:\/\/api\.example:6443: /,
    ],
  ]
  for (const [what, text, message] of cases) {
    await writeFile(path, text)
    await t.rejects(
      openKubernetesApi({ kubeconfig: path }),
      { name: 'KubernetesConfigError', code: 'WEIR_KUBERNETES_CONFIG', message },
      what,
    )
  }
  await t.rejects(openKubernetesApi({ kubeconfig: join(directory, 'none') }), {
    message: /^Cannot read the kubeconfig /,
  })
})

t.test('Relative paths are relative to the file, and the path of the server is kept', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-kubeconfig-'))
  t.teardown(() => rm(directory, { recursive: true }))
  await writeFile(join(directory, 'token'), 'x')
  const path = join(directory, 'config')
  await writeFile(path, kubeconfig({ user: { tokenFile: 'token' }, cluster: { server: 'https://api.example/k8s/c/' } }))
  await using api = await openKubernetesApi({ kubeconfig: path })
  t.equal(api.server, 'https://api.example')
})

t.test('Outside of a pod, and without a token, what is missing is named', async (t) => {
  await t.rejects(openKubernetesApi({ environment: {} }), {
    name: 'KubernetesConfigError',
    message: /KUBERNETES_SERVICE_HOST is not set, so this is no pod; name a kubeconfig file$/,
  })
  const environment = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' }
  await t.rejects(openKubernetesApi({ environment, serviceAccountDirectory: '/nowhere' }), {
    message: /^Cannot read \/nowhere\/ca\.crt: .*: mount the service account/,
  })
})
