/** Signals that reach a supervisor, or that another machine hands on. */
import { constants } from "node:os";
import type { Attempt } from "./attempt.js";
import type { Machines } from "./machines.js";

const ENDING = ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"] as const;

/** Asked to end while no rank runs. */
export class Interrupted extends Error {
  constructor(readonly code: number) {
    super("interrupted");
  }
}

const codeOf = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

/** What this process is told by signals, and what becomes of it. */
export class SignalHandling {
  attempt: Attempt | null = null;
  /** 128 + the number of the signal after which a second one killed all; null: none did. */
  killedBy: number | null = null;
  #asked: NodeJS.Signals | null = null;
  /** The signal came to another machine; this one may get its own as well. */
  #relayed = false;
  #machines: Machines | null = null;
  readonly #handlers: readonly (readonly [NodeJS.Signals, (signal: NodeJS.Signals) => void])[] = [
    ...ENDING.map((signal) => [signal, () => this.#end(signal)] as const),
    ["SIGWINCH", () => this.attempt?.relay("SIGWINCH")],
    ["SIGTSTP", () => this.#pause()],
    ["SIGCONT", () => this.attempt?.relay("SIGCONT")],
  ];

  listen(machines: Machines): void {
    this.#machines = machines;
    for (const [signal, handler] of this.#handlers) process.on(signal, handler);
  }

  close(): void {
    for (const [signal, handler] of this.#handlers) process.removeListener(signal, handler);
  }

  /** Another machine was asked to end. */
  relayed(name: string): void {
    const signal = ENDING.find((one) => one === name);
    if (signal === undefined || this.#asked !== null) return;
    this.#asked = signal;
    this.#relayed = true;
    this.attempt?.forward(signal);
  }

  #end(signal: NodeJS.Signals): void {
    if (this.#relayed) {
      this.#relayed = false; // the same, meant for all machines
    } else if (this.#asked === null) {
      this.#asked = signal;
      this.#machines?.signal(signal);
      this.attempt?.forward(signal);
    } else {
      this.killedBy = codeOf(this.#asked);
      this.attempt?.kill();
    }
    if (this.attempt === null) this.#machines?.abandon(new Interrupted(codeOf(signal)));
  }

  #pause(): void {
    this.attempt?.relay("SIGSTOP");
    process.kill(process.pid, "SIGSTOP");
  }
}
