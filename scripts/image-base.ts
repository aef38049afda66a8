/**
 * The image's first layer: a root file system of the few Debian packages that the agent needs, unpacked, not installed.
 * No package manager, no Perl, no shell's worth of set-up scripts: what those would have done is done here.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  globSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'

/** What the agent calls, what scripts/weir calls, and what Node is linked with; the rest follows from it. */
const WANTED = ['base-files', 'bash', 'coreutils', 'iproute2', 'iptables', 'libatomic1', 'libstdc++6', 'util-linux']
/** Needed by the packages' set-up scripts, or by programs that are dropped below. */
const UNWANTED =
  /^(debconf|debianutils|gcc-12-base|libaudit-common|libcap2-bin|libcom-err2|libdb5\.3|libgssapi-krb5-2|libk5crypto3|libkeyutils1|libkrb5-3|libkrb5support0|libssl3|libtirpc3|libtirpc-common|mawk|util-linux-extra)$/
const DROPPED = [
  'usr/bin/{chfn,chsh,login,newgrp,passwd,su}',
  'usr/{bin,sbin}/{arpd,ss,sulogin,agetty,runuser,mkfs*,fsck*,mkswap,swap*,fstrim,fsfreeze,ctrlaltdel,wipefs,zramctl}',
  'usr/share/{bash-completion,bug,doc,doc-base,info,lintian,locale,man,menu,zsh}',
  'usr/lib/*-linux-gnu/{gconv,perl*,audit}',
  'usr/{games,src}',
  'usr/lib/{systemd,tmpfiles.d,udev}',
  'etc/{init.d,cron*,pam.d,default,update-motd.d,profile.d}',
]
/** Debian's alternatives: the agent chooses the back end itself, by the full names. */
const IPTABLES_LINKS = ['iptables', 'iptables-save', 'iptables-restore'].flatMap((name) => [
  name,
  name.replace('ip', 'ip6'),
])
const PASSWD = `root:x:0:0:root:/root:/usr/sbin/nologin
weir-proxy:x:1337:1337:Weir proxies:/nonexistent:/usr/sbin/nologin
weir-ca:x:1338:1338:Weir CA:/nonexistent:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
`

/** The unpacked base; made anew when the list of packages or this file changed. */
export function baseDirectory(cache: string): string {
  const packages = resolvePackages()
  const key = createHash('sha256')
    .update([...packages, ...DROPPED, PASSWD, RECIPE].join('\n'))
    .digest('hex')
    .slice(0, 16)
  const directory = join(cache, `base-${key}`)
  if (existsSync(directory)) return directory
  for (const old of globSync(join(cache, 'base-*'))) rmSync(old, { recursive: true })
  const debs = join(cache, 'debs')
  mkdirSync(join(debs, 'partial'), { recursive: true })
  apt([...INTO_NOTHING, '-o', `Dir::Cache::archives=${debs}`, '-y', '--download-only', 'install', ...WANTED])
  const making = `${directory}.new`
  rmSync(making, { recursive: true, force: true })
  unpack(
    packages.map((file) => join(debs, file)),
    making,
  )
  setUp(making)
  renameSync(making, directory)
  rmSync(debs, { recursive: true })
  return directory
}

/** Counted up by hand when what this file does to the packages changes. */
const RECIPE = '2'

/** As on a machine where nothing is installed, so that the answer is the whole closure. */
const INTO_NOTHING = [
  '-qq',
  '-o',
  'Dir::State::status=/dev/null',
  '-o',
  'Debug::NoLocking=1',
  '--no-install-recommends',
]

function apt(args: readonly string[]): string {
  return execFileSync('apt-get', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
}

/** File names with versions, such as bash_5.2.15-2+b13_amd64.deb. */
function resolvePackages(): readonly string[] {
  const ask = () => apt([...INTO_NOTHING, '--print-uris', '-y', 'install', ...WANTED])
  let answer: string
  try {
    answer = ask()
  } catch {
    // A fresh machine has no lists.
    apt(['-qq', 'update'])
    answer = ask()
  }
  const files = answer.split('\n').flatMap((line) => line.split(' ')[1] ?? [])
  return files.filter((file) => !UNWANTED.test(file.replace(/_.*/, ''))).sort()
}

function unpack(debs: readonly string[], directory: string): void {
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(join(directory, 'usr', name), { recursive: true })
    symlinkSync(`usr/${name}`, join(directory, name))
  }
  const status = join(directory, 'var/lib/dpkg/status.d')
  mkdirSync(status, { recursive: true })
  for (const deb of debs) {
    const tar = execFileSync('dpkg-deb', ['--fsys-tarfile', deb], { maxBuffer: 1 << 28 })
    execFileSync('tar', ['-x', '--keep-directory-symlink', '--no-same-owner', '-C', directory], { input: tar })
    // Where scanners look for what is in an image without a package manager.
    writeFileSync(join(status, basename(deb).replace(/_.*/, '')), execFileSync('dpkg-deb', ['--field', deb]))
  }
}

function setUp(directory: string): void {
  for (const pattern of DROPPED) {
    for (const path of globSync(join(directory, pattern))) rmSync(path, { recursive: true })
  }
  for (const name of IPTABLES_LINKS) symlinkSync('xtables-nft-multi', join(directory, 'usr/sbin', name))
  symlinkSync('bash', join(directory, 'usr/bin/sh'))
  // Where runtimes say that namespaces and sockets are.
  rmSync(join(directory, 'var/run'), { recursive: true, force: true })
  symlinkSync('../run', join(directory, 'var/run'))
  writeFileSync(join(directory, 'etc/passwd'), PASSWD)
  writeFileSync(join(directory, 'etc/group'), 'root:x:0:\nweir-proxy:x:1337:\nweir-ca:x:1338:\nnogroup:x:65534:\n')
  execFileSync('ldconfig', ['-r', directory])
  rmSync(join(directory, 'var/cache'), { recursive: true, force: true })
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const { mode } = lstatSync(path)
    if (entry.isFile() && (mode & 0o6000) !== 0) chmodSync(path, mode & 0o777)
  }
}
