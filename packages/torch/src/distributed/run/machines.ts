/** The machine that this process supervises among all that take part: what it is told, and what it tells. */
import { ArgumentError, verbatim } from "../../errors.js";
import type { Listener } from "./listener.js";
import type { Order } from "./machine-messages.js";

/** What ranks of this machine start with. */
export interface Start {
  readonly restart: number;
  readonly port: number;
  readonly firstRank: number;
  readonly worldSize: number;
  /** On machine 0: the store's socket. */
  readonly listener: Listener | null;
}
export interface Verdict {
  readonly code: number;
  readonly again: boolean;
  /** Why it failed; null: it did not. */
  readonly reason: string | null;
}

/** What happens elsewhere while ranks run here. */
export interface Elsewhere {
  /** Another machine has failed. */
  stop(): void;
  /** Another machine was asked to end. */
  signal(signal: string): void;
  /** Something to be shown. */
  say(text: string): void;
}

export interface Machines {
  /** All machines are there: resolves when ranks may start. @throws {ArgumentError} `ERR_LAUNCH_MACHINES`. */
  start(): Promise<Start>;
  failed(code: number, reason: string): void;
  signal(signal: string): void;
  /** All ranks of this machine have ended. Resolves when those of all machines have. */
  ended(code: number): Promise<Verdict>;
  /** Waits for nothing any longer: `start` and `ended` reject. */
  abandon(error: Error): void;
  close(): void;
}

/** Orders of machine 0, as they arrive; those that somebody waits for, one at a time. */
export class Inbox {
  #queue: (Start | Verdict)[] = [];
  #waiting: { readonly resolve: (value: Start | Verdict) => void; readonly reject: (error: Error) => void } | null =
    null;
  #error: Error | null = null;

  constructor(readonly elsewhere: Elsewhere) {}

  put(order: Order, listener: Listener | null = null): void {
    switch (order.kind) {
      case "stop":
        this.elsewhere.stop();
        break;
      case "signal":
        this.elsewhere.signal(order.signal);
        break;
      case "refused":
        this.fail(refusal(order.reason));
        break;
      case "start":
        this.#add({ ...order, listener });
        break;
      case "verdict":
        this.#add(order);
    }
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#waiting?.reject(this.#error);
    this.#waiting = null;
  }

  async start(): Promise<Start> {
    const next = await this.#next();
    if (!("port" in next)) throw new Error("launch: a verdict before the start");
    return next;
  }

  async verdict(): Promise<Verdict> {
    const next = await this.#next();
    if (!("again" in next)) throw new Error("launch: a start before the verdict");
    return next;
  }

  #add(order: Start | Verdict): void {
    if (this.#waiting === null) this.#queue.push(order);
    else this.#waiting.resolve(order);
    this.#waiting = null;
  }

  #next(): Promise<Start | Verdict> {
    const next = this.#queue.shift();
    if (next !== undefined) return Promise.resolve(next);
    if (this.#error !== null) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }
}

export function refusal(reason: string): ArgumentError {
  return new ArgumentError(
    "launch",
    "machines that agree on who takes part",
    verbatim(reason),
    "Start each with the same nnodes, masterAddr and masterPort, and another nodeRank.",
    "ERR_LAUNCH_MACHINES",
  );
}
