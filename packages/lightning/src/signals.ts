/** What asks runs to end, and how they obey: signals to the process, and AbortSignals of one call. */
import { constants } from "node:os";
import { setImmediate as turn } from "node:timers/promises";

/** Ctrl-C; a job scheduler, a container or `kill`; a terminal that was closed; Slurm, which asks to be queued again. */
export const ENDING_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"] as const;
export type EndingSignal = (typeof ENDING_SIGNALS)[number];
/** The same, and the AbortSignal of a call. */
export const ENDINGS = [...ENDING_SIGNALS, "abort"] as const;
export type Ending = (typeof ENDINGS)[number];

/** Thrown where a run may end when it was asked to. */
export class InterruptSignal extends Error {
  constructor(readonly signal: Ending) {
    super(signal);
  }
}

/** What a signal handler tells. */
export interface Interruptible {
  interrupted: Ending | null;
}

/** The status of a process that ended for a signal, as shells give it: 130, 143, 129, 138. That of a program's own end: 1. */
export function exitCodeOf(ending: Ending): number {
  return ending === "abort" ? 1 : 128 + constants.signals[ending];
}

const running = new Set<Interruptible>();
/**
 * While there is a run, the process does not end by itself, also when all that it waits for is something that Node does
 * not count, such as a timer without reference.
 */
let alive: NodeJS.Timeout | null = null;

/**
 * While a run lasts, the first of these signals asks it to end after the batch in progress; the second, of whichever
 * kind, ends the process at once.
 * @returns a function that stops listening.
 */
export function onInterrupt(run: Interruptible): () => void {
  if (running.size === 0) listen();
  running.add(run);
  return () => {
    if (running.delete(run) && running.size === 0) unlisten();
  };
}

/**
 * While a run lasts, `signal` asks it to end as the first signal to the process does. One that was aborted before has
 * asked already.
 * @returns a function that stops listening.
 */
export function onAbort(run: Interruptible, signal: AbortSignal | null): () => void {
  const ask = (): void => void (run.interrupted ??= "abort");
  if (signal?.aborted === true) ask();
  else signal?.addEventListener("abort", ask, { once: true });
  return () => signal?.removeEventListener("abort", ask);
}

function listen(): void {
  alive = setInterval(() => undefined, 2 ** 30);
  for (const signal of ENDING_SIGNALS) process.on(signal, ask);
  for (const stream of [process.stdout, process.stderr]) stream.on("error", onLostOutput);
}

function unlisten(): void {
  if (alive !== null) clearInterval(alive);
  for (const signal of ENDING_SIGNALS) process.removeListener(signal, ask);
  for (const stream of [process.stdout, process.stderr]) stream.removeListener("error", onLostOutput);
}

function ask(signal: EndingSignal): void {
  // A program's own request does not make Ctrl-C the second one.
  const unasked = [...running].filter((run) => run.interrupted === null || run.interrupted === "abort");
  if (unasked.length === 0) {
    running.clear();
    unlisten();
    process.kill(process.pid, signal);
    return;
  }
  for (const run of unasked) run.interrupted = signal;
  process.stderr.write(
    signal === "SIGINT"
      ? "\nInterrupted: ending after this batch. Press Ctrl-C again to quit at once.\n"
      : `\nInterrupted by ${signal}: ending after this batch. A second signal ends at once.\n`,
  );
}

/**
 * A terminal that was closed, or a reader that has gone, does not end a run before its checkpoint is written: what it
 * would have been shown is dropped, from here on.
 */
function onLostOutput(this: NodeJS.WriteStream, error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
  if (lost.has(this)) return;
  lost.add(this);
  this.on("error", () => undefined);
}
const lost = new WeakSet<NodeJS.WriteStream>();

/**
 * Resolves when every signal that has arrived by now was told to its handlers: Node tells them between turns of its
 * event loop only, and forgets those whose handler was removed meanwhile.
 */
export async function signalsDelivered(): Promise<void> {
  await turn(); // may come in the turn in which the signal arrived
  await turn();
}
