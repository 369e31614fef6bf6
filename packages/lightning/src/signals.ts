/** Thrown between batches when the user asked to stop. */
export class InterruptSignal extends Error {}

/** What a signal handler tells. */
export interface Interruptible {
  interrupted: boolean;
}

/**
 * While a run lasts, the first Ctrl-C asks it to end after the batch in progress; the second ends the process at once.
 * @returns a function that stops listening.
 */
export function onInterrupt(run: Interruptible): () => void {
  const stop = (): void => {
    process.removeListener("SIGINT", handler);
  };
  const handler = (): void => {
    if (run.interrupted) {
      stop();
      process.kill(process.pid, "SIGINT");
      return;
    }
    run.interrupted = true;
    process.stderr.write("\nInterrupted: ending after this batch. Press Ctrl-C again to quit at once.\n");
  };
  process.on("SIGINT", handler);
  return stop;
}
