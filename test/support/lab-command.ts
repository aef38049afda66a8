/** The `scripts/lab` command: labs to play with, and the removal of what killed tests left behind. */
import { spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { errorLine } from '#base'
import { type Lab, openLab } from './lab.ts'
import { MAX_NODES, MAX_PODS_PER_NODE } from './lab-addresses.ts'
import { inNetns, listNetns } from './lab-network.ts'
import { collectAbandonedLabs, isAbandoned, type LabRecord, listLabs, removeLab } from './lab-registry.ts'

const USAGE = `Usage: scripts/lab COMMAND
  up [--nodes N] [--pods N] [--no-ipv6]
                         make N nodes (1), several with a fabric between them, and N pods (2), dealt to the nodes in
                         turn, each with a service account of its name and an echo server on port 8080; print how to
                         reach them
  down ID | --all        end everything in a lab and remove it
  list, ls               the labs of this machine
  exec ID PLACE COMMAND… run a command in a pod (NAMESPACE-NAME, or NAME), in a node (\`node\`, of several the name:
                         \`node-2\`), or in the \`fabric\` between them
  gc                     remove the labs whose owner is dead`

class UsageError extends Error {}
/** As in sysexits.h. */
const EX_NOPERM = 77
const FOR_ROOT = ['up', 'down', 'exec', 'gc']

function findLab(id: string | undefined): LabRecord {
  const record = listLabs().find((lab) => lab.id === id)
  if (!record) throw new UsageError(`There is no lab ${id ?? '(no ID given)'}: see scripts/lab list`)
  return record
}

function findNetns(lab: LabRecord, name: string | undefined): string {
  const prefix = `weir-${lab.id}-`
  const all = listNetns(prefix)
  const wanted = (name ?? '').replace('/', '-')
  const exact = all.find((netns) => netns === prefix + wanted)
  const byName = all.filter((netns) => netns.endsWith(`-${wanted}`))
  if (exact !== undefined) return exact
  if (byName.length === 1 && byName[0] !== undefined) return byName[0]
  const names = all.map((netns) => netns.slice(prefix.length)).join(', ')
  throw new UsageError(`${name ?? '(no place given)'} is not one of the lab's namespaces: ${names}`)
}

function readCount(flag: string, text: string, least: number, most: number): number {
  const count = Number(text)
  if (text !== '' && Number.isInteger(count) && count >= least && count <= most) return count
  throw new UsageError(`${flag} must be ${least} to ${most}`)
}

function readUpFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        nodes: { type: 'string', default: '1' },
        pods: { type: 'string', default: '2' },
        'no-ipv6': { type: 'boolean', default: false },
      },
    })
  } catch (thrown) {
    throw new UsageError(`scripts/lab up: ${errorLine(thrown)}`)
  }
}

async function up(args: readonly string[]): Promise<void> {
  const { values } = readUpFlags(args)
  const nodes = readCount('--nodes', values.nodes, 1, MAX_NODES)
  const pods = readCount('--pods', values.pods, 0, nodes * MAX_PODS_PER_NODE)
  const lab = await openLab({ detached: true, ipv6: !values['no-ipv6'], ...(nodes > 1 ? { nodes } : {}) })
  try {
    console.log(`lab        ${lab.id}`)
    for (const node of lab.nodes) console.log(`node       ${node.netns}  ${node.addresses.join('  ')}`)
    if (nodes > 1) console.log(`fabric     ${lab.fabric.netns}`)
    console.log(`manifests  ${lab.manifestsDir}`)
    for (const node of lab.nodes) console.log(`state      ${node.stateDir}`)
    const log = openSync(join(lab.dir, 'pods.log'), 'a')
    const reached: string[] = []
    for (let number = 1; number <= pods; number++) {
      const name = `pod-${number}`
      const node = lab.nodes[(number - 1) % nodes] ?? lab.node
      const pod = await node.addPod({
        name,
        serviceAccount: name,
        labels: { app: name },
        ports: [{ name: 'http', containerPort: 8080 }],
      })
      const settings = JSON.stringify({ port: 8080, name, host: '::' })
      const server = join(import.meta.dirname, 'lab-echo-server.ts')
      const [file, fileArgs] = inNetns(pod.netns, process.execPath, [server, settings])
      spawn(file, fileArgs, { detached: true, stdio: ['ignore', log, log] }).unref()
      const where = nodes > 1 ? `  on ${node.name}` : ''
      console.log(`pod        ${pod.netns}  ${pod.addresses.join('  ')}${where}`)
      reached.push(pod.ipv4)
    }
    console.log(directions(lab, reached))
  } catch (error) {
    await lab.close()
    throw error
  }
}

/** How to go on: what works right now, and what a mesh needs. */
function directions(lab: Lab, podAddresses: readonly string[]): string {
  const [first = ''] = podAddresses
  const second = podAddresses[1] ?? first
  const call = `scripts/lab exec ${lab.id} pod-1 curl http://${second}:8080/`
  const agents = lab.nodes.map(({ name, stateDir }) => {
    const place = lab.nodes.length > 1 ? name : 'node'
    // Of one CA, or the pods of one node would not trust those of the other.
    const ca = lab.nodes.length > 1 ? ` --ca-dir ${join(lab.dir, 'ca')}` : ''
    const arguments_ = `--node ${name} --manifests ${lab.manifestsDir} --state-dir ${stateDir}${ca}`
    return `scripts/lab exec ${lab.id} ${place} scripts/weir agent ${arguments_}`
  })
  const asks = lab.nodes.map(({ stateDir }) => `scripts/weir status --state-dir ${stateDir}`)
  return [
    ...(podAddresses.length > 0 ? ['', 'Call a pod from another one:', `  ${call}`] : []),
    '',
    `Start an agent on ${lab.nodes.length > 1 ? 'each node' : 'the node'} (it stays in the foreground):`,
    ...agents.map((line) => `  ${line}`),
    `and ask ${lab.nodes.length > 1 ? 'them' : 'it'}:`,
    ...asks.map((line) => `  ${line}`),
    '',
    'Pods have no DNS server and no kube-proxy: a ClusterIP answers only while the calling pod is enrolled.',
    `Remove it all: scripts/lab down ${lab.id}`,
  ].join('\n')
}

function down(id: string | undefined): void {
  if (id === '--all') {
    // A lab that a running test owns is that test's to remove.
    for (const lab of listLabs()) if (lab.owner === undefined || isAbandoned(lab)) removeLab(lab)
  } else removeLab(findLab(id))
}

function list(): void {
  for (const lab of listLabs()) {
    const owner = lab.owner === undefined ? 'kept' : `pid ${lab.owner.pid}${isAbandoned(lab) ? ' (dead)' : ''}`
    const nodes = lab.nodes === undefined ? '' : `  ${lab.nodes.length} nodes: ${lab.nodes.join(' ')}`
    console.log(`${lab.id}  ${owner}  ${listNetns(`weir-${lab.id}-`).length} namespaces${nodes}  ${lab.dir}`)
  }
}

function exec(id: string | undefined, place: string | undefined, command: readonly string[]): Promise<number> {
  const netns = findNetns(findLab(id), place)
  const [file, ...args] = command
  if (file === undefined) throw new UsageError(`No command for ${place}: scripts/lab exec ${id} ${place} COMMAND…`)
  const child = spawn(...inNetns(netns, file, args), { stdio: 'inherit' })
  // A Ctrl-C in the terminal reaches the command itself.
  process.on('SIGINT', () => undefined)
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void child.kill(signal))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
}

async function main([command = '--help', ...args]: readonly string[]): Promise<number> {
  if (command === '--help' || command === '-h' || args[0] === '--help') {
    console.log(USAGE)
    return 0
  }
  if (FOR_ROOT.includes(command) && process.getuid?.() !== 0) {
    console.error(`lab: run scripts/lab ${command} as root: it makes, enters or removes network namespaces`)
    return EX_NOPERM
  }
  if (command === 'up') await up(args)
  else if (command === 'down') down(args[0])
  else if (command === 'list' || command === 'ls') list()
  else if (command === 'exec') return await exec(args[0], args[1], args.slice(2))
  else if (command === 'gc') for (const id of collectAbandonedLabs()) console.log(`removed the abandoned lab ${id}`)
  else throw new UsageError(`There is no command ${command}\n${USAGE}`)
  return 0
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
