/** The one door to libc: functions are looked up when first called, so an importer pays for what it uses. */
import { getSystemErrorMap } from 'node:util'
import koffi from 'koffi'
import { WeirError } from '#base'

type Argument = number | bigint | string | NodeJS.ArrayBufferView | null
type LibcFunction = (...args: Argument[]) => number

let library: ReturnType<typeof koffi.load> | undefined

/** Declares a libc function by its C prototype (pointers as `void *`), resolved at its first call. */
export function libc(prototype: string): LibcFunction {
  let loaded: LibcFunction | undefined
  return (...args) => {
    if (loaded === undefined) {
      library ??= koffi.load('libc.so.6')
      loaded = library.func(prototype) as LibcFunction
    }
    return loaded(...args)
  }
}

/** Memory outside the JavaScript heap whose address stays what it is; never freed. */
export function fixedMemory(size: number): { readonly address: bigint; readonly bytes: Buffer } {
  const pointer: unknown = koffi.alloc('uint8_t', size)
  return { address: koffi.address(pointer), bytes: Buffer.from(koffi.view(pointer, size)) }
}

/** A system call failed. */
export class LinuxError extends WeirError {
  override readonly name = 'LinuxError'
  /** As in errno.h, e.g. `EADDRINUSE`. */
  readonly errnoName: string
  readonly call: string

  constructor(call: string, errno: number) {
    const [name, text] = getSystemErrorMap().get(-errno) ?? [`errno ${errno}`, 'unknown error']
    super('WEIR_LINUX_SYSCALL', `${call} failed: ${text} (${name}).`)
    this.errnoName = name
    this.call = call
  }
}

export function lastErrno(): number {
  return koffi.errno()
}

/** Returns a system call's result, or throws `LinuxError` when it is negative. */
export function check(call: string, result: number): number {
  if (result < 0) throw new LinuxError(call, koffi.errno())
  return result
}

export const EINTR = 4
export const EAGAIN = 11
export const EINPROGRESS = 115
