/** Timers that end with the scope that owns them. */

/** Calls `tick` every `periodMs` until disposed; does not keep the process alive. */
export function startInterval(periodMs: number, tick: () => void): Disposable {
  const timer = setInterval(tick, periodMs)
  timer.unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** Calls `fire` once after `delayMs` unless disposed before. */
export function startTimer(delayMs: number, fire: () => void): Disposable {
  const timer = setTimeout(fire, delayMs)
  return { [Symbol.dispose]: () => clearTimeout(timer) }
}
