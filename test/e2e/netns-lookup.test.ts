/** How an agent finds the namespaces of pods that were there first, with a real runtime to ask and real cgroups to read. */
import { join } from 'node:path'
import t from 'tap'
import type { LookedUpPod } from '../../agent/cri/netns-lookup.ts'
import { openLab } from '../support/lab.ts'
import type { LabContainerPod } from '../support/lab-container-pod.ts'
import { Containerd } from '../support/lab-containerd.ts'

const LOOKUP = join(import.meta.dirname, '../../agent/cri/netns-lookup.ts')

interface Found {
  readonly addresses: readonly string[]
  /** Inode number of the namespace. */
  readonly inode: number
}

/** Looks the pods up as an agent on the node would. */
async function lookUp(runtime: Containerd, pods: readonly LookedUpPod[], criSockets?: readonly string[]) {
  const script = `
import { statSync } from 'node:fs'
import { createNetnsLookup } from '${LOOKUP}'
const [pods, criSockets] = JSON.parse(process.argv[1])
const options = { onWarning: (line) => console.error(line), ...(criSockets === null ? {} : { criSockets }) }
const found = await createNetnsLookup(options).find(pods)
const entries = [...found].map(([uid, { netns, addresses }]) => [uid, { addresses, inode: statSync(netns).ino }])
console.log(JSON.stringify(Object.fromEntries(entries)))
process.exit(0)`
  const args = ['--input-type=module', '-e', script, '--', JSON.stringify([pods, criSockets ?? null])]
  const { code, stdout, stderr } = await runtime.machine.exec(process.execPath, args)
  if (code !== 0) throw new Error(`The lookup ended with ${code}: ${stderr}`)
  return { found: JSON.parse(stdout) as Readonly<Record<string, Found>>, warnings: stderr }
}

async function inodeOf(pod: LabContainerPod): Promise<number> {
  return Number((await pod.exec('stat', ['-L', '-c', '%i', '/proc/self/ns/net'])).stdout)
}

t.test('the namespaces of running pods are found by asking the runtime, and without one by way of /proc', async (t) => {
  await using lab = await openLab({ t })
  await using runtime = await Containerd.start(lab.node, { t })
  const web = await runtime.runPod({ name: 'web', namespace: 'shop' })
  const client = await runtime.runPod({ name: 'client', namespace: 'shop' })
  const node = await runtime.runPod({ name: 'node', hostNetwork: true, command: ['sleep', '1000'] })
  const pods = [
    ...[web, client].map(({ uid, name }) => ({ uid, namespace: 'shop', name })),
    { uid: node.uid, namespace: 'default', name: 'node' },
    { uid: '00000000-0000-4000-8000-000000000000', namespace: 'shop', name: 'nobody' },
  ]

  const asked = await lookUp(runtime, pods)
  t.strictSame(asked.found, {
    [web.uid]: { addresses: web.addresses, inode: await inodeOf(web) },
    [client.uid]: { addresses: client.addresses, inode: await inodeOf(client) },
  })
  t.equal(asked.warnings, '')

  const seen = await lookUp(runtime, pods, [])
  t.strictSame(seen.found, {
    [web.uid]: { addresses: [], inode: await inodeOf(web) },
    [client.uid]: { addresses: [], inode: await inodeOf(client) },
  })

  await client.remove()
  t.strictSame(Object.keys((await lookUp(runtime, pods)).found), [web.uid], 'a pod that is gone is not found')
})
