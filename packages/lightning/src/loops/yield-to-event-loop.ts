/** How long a loop may keep Node's event loop waiting, beside the pass in progress. */
const BUSY_MS = 20;

/**
 * For a loop that is busy for long. What is returned is called once per pass: now and then it returns a promise, to be
 * awaited, within which Node's event loop serves timers, signals and sockets; else null. They wait for 20 ms, or for one
 * pass where that takes longer.
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

/** A pass that takes longer than this is worth a word: a program that does other things beside stutters. */
export const LONG_MS = 100;
