/** The C library's memory, which Node's buffers, programs' output and native code live in. */
import { libc } from './libc.ts'

const mallocTrim = libc('int malloc_trim(size_t)')

/** Gives free memory back to the system (malloc_trim(3)); some milliseconds. Only a process that was busy and is idle now gains. */
export function trimMemory(): void {
  mallocTrim(0)
}
