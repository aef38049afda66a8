/** A proxy that hangs as soon as it is started. */
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
