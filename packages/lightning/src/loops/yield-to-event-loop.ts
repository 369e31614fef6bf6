/** How long a loop may keep Node's event loop waiting. */
const BUSY_MS = 20;

/**
 * For a loop that is busy for long. What is returned is called once per pass: now and then it returns a promise, to be
 * awaited, within which Node's event loop serves timers, signals and sockets; else null.
 */
export function yieldToEventLoop(): () => Promise<void> | null {
  let last = performance.now();
  return () => {
    if (performance.now() - last < BUSY_MS) return null;
    return new Promise((resolve) => {
      setImmediate(() => {
        last = performance.now();
        resolve();
      });
    });
  };
}
