/** Records on their way to a server that may be slow, or away, while training goes on. */
import { plainText } from "@nbit/torch";
import { isError } from "@nbit/torch/realm";
import { warn } from "../warnings.js";

export interface ServerQueueOptions<T> {
  /** Of the logger, for messages. */
  readonly name: string;
  /** Send some; those that it took are gone. */
  readonly send: (items: readonly T[]) => Promise<void>;
  /** Whether the same may succeed later. */
  readonly worthRetrying: (error: unknown) => boolean;
  /** Items of one call of `send`. */
  readonly perSend: number;
  /** Items that may wait: the oldest go first. */
  readonly most: number;
  /** Seconds until the second attempt; twice as long before each further one, up to a minute. */
  readonly retrySeconds: number;
}

/**
 * A bounded queue with one sender. What the server refuses is dropped; while it cannot be reached, items wait and
 * attempts become rarer. Each kind of trouble is one warning.
 */
export class ServerQueue<T> {
  readonly #options: ServerQueueOptions<T>;
  #items: T[] = [];
  #working: Promise<void> | null = null;
  #stopped = false;
  #wake: (() => void) | null = null;
  #dropped = 0;
  readonly #said = new Set<string>();

  constructor(options: ServerQueueOptions<T>) {
    this.#options = options;
  }

  /** Items that were never sent because too many waited. */
  get dropped(): number {
    return this.#dropped;
  }
  get length(): number {
    return this.#items.length;
  }

  add(items: readonly T[]): void {
    for (const item of items) this.#items.push(item);
    const surplus = this.#items.length - this.#options.most;
    if (surplus > 0) {
      this.#items.splice(0, surplus);
      this.#dropped += surplus;
      this.#say(
        "WARN_LOGGER_DROPPED",
        `more than ${this.#options.most} values wait for the server: the oldest are dropped.`,
      );
    }
    this.#stopped = false;
    this.#working ??= this.#work().finally(() => (this.#working = null));
  }

  async #work(): Promise<void> {
    let pause = this.#options.retrySeconds;
    while (this.#items.length > 0 && !this.#stopped) {
      const some = this.#items.splice(0, this.#options.perSend);
      try {
        await this.#options.send(some);
        pause = this.#options.retrySeconds;
      } catch (error) {
        const why = isError(error) ? error.message : String(error);
        if (!this.#options.worthRetrying(error)) {
          this.#say("WARN_LOGGER_REFUSED", `the server refused values, which are dropped: ${why}`);
          continue;
        }
        this.#items.unshift(...some);
        this.#say("WARN_LOGGER_SERVER", `the server cannot be reached; training goes on, and values wait: ${why}`);
        await this.#sleep(pause);
        pause = Math.min(60, pause * 2);
      }
    }
  }

  async #sleep(seconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      // A process that has nothing else to do ends; whoever waits for the queue has a timer of their own.
      const timer = setTimeout(resolve, seconds * 1000).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }

  /** Wait until all is sent, but not longer than so many seconds. @returns Whether all was. */
  async drained(seconds: number): Promise<boolean> {
    if (this.#working === null) return this.#items.length === 0;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, seconds * 1000)));
    await Promise.race([this.#working, late]);
    clearTimeout(timer);
    return this.#items.length === 0 && this.#working === null;
  }

  /** Try no more: what waits is lost. @returns How many values that are. */
  stop(): number {
    this.#stopped = true;
    const lost = this.#items.length;
    this.#items = [];
    this.#wake?.();
    return lost;
  }

  #say(code: string, message: string): void {
    if (this.#said.has(code)) return;
    this.#said.add(code);
    warn(code, plainText(`${this.#options.name}: ${message}`));
  }
}
