/** Files written by a thread of its own, while the program goes on. */
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from "node:worker_threads";
import { resolve } from "node:path";
import { NbitError } from "../errors.js";
import { checkPath, FileError } from "./errors.js";

/** What the thread is told. */
export interface WriteOrder {
  readonly fn: string;
  readonly path: string;
  /** The whole contents, in order. */
  readonly pieces: readonly Uint8Array<ArrayBuffer>[];
}
/** What it answers, once for each order; null: written. */
export type WriteAnswer = { readonly message: string; readonly code: string; readonly isFile: boolean } | null;
export interface WriterStart {
  readonly port: MessagePort;
  /** Answers so far, and whether the thread has ended. */
  readonly counts: Int32Array;
}
export const COUNTS = { answered: 0, ended: 1 } as const;

interface Pending {
  readonly path: string;
  readonly then: (() => void)[];
}

/**
 * Writes whole files, one after the other, each as `writeAtomically` does: a reader, a crash or a full disk meets the
 * old contents or all of the new ones. A process that ends by itself, or by `process.exit`, waits for what is pending.
 */
export class BackgroundWriter {
  readonly #most: number;
  #thread: { readonly worker: Worker; readonly port: MessagePort; readonly counts: Int32Array } | null = null;
  #pending: Pending[] = [];
  #failure: Error | null = null;
  readonly #atExit = (): void => {
    this.#waitUntil(() => this.#pending.length === 0);
  };

  /** @param most - Files that may be pending. Each holds its contents in memory. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Absolute paths of files that are not written yet, in their order. */
  get pending(): readonly string[] {
    this.#hear();
    return this.#pending.map(({ path }) => path);
  }

  /**
   * Hand over the contents of a file. Returns at once, unless as many are pending as may be: then when one of them is
   * written.
   *
   * @param pieces - Detached from the caller: their memory is the writer's from here on.
   * @throws what an earlier write failed of; nothing is handed over then.
   */
  write(fn: string, path: string, pieces: readonly Uint8Array<ArrayBuffer>[]): void {
    checkPath(fn, path);
    this.#waitUntil(() => this.#pending.length < this.#most);
    this.check();
    const { port } = (this.#thread ??= this.#start());
    if (this.#pending.length === 0) {
      port.ref();
      process.on("exit", this.#atExit);
    }
    this.#pending.push({ path: resolve(path), then: [] });
    port.postMessage({ fn, path, pieces } satisfies WriteOrder, [...new Set(pieces.map(({ buffer }) => buffer))]);
  }

  /** Do something when what is pending now is written; at once where nothing is. Not done where writing fails. */
  whenWritten(then: () => void): void {
    this.#hear();
    const last = this.#pending.at(-1);
    if (last === undefined) then();
    else last.then.push(then);
  }

  /** Wait on the spot for all files whose path begins like this. @throws what a write failed of. */
  wait(begin = ""): void {
    this.#waitUntil(() => !this.#pending.some(({ path }) => path.startsWith(begin)));
    this.check();
  }

  /** @throws what an earlier write failed of, once. */
  check(): void {
    this.#hear();
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
  }

  /** Wait for all files, and end the thread; a later write starts another. @throws what a write failed of. */
  close(): void {
    try {
      this.wait();
    } finally {
      this.#thread?.port.close();
      this.#thread = null;
    }
  }

  #start(): { readonly worker: Worker; readonly port: MessagePort; readonly counts: Int32Array } {
    const { port1, port2 } = new MessageChannel();
    const counts = new Int32Array(new SharedArrayBuffer(8));
    const worker = new Worker(new URL("./background-writer-thread.js", import.meta.url), {
      workerData: { port: port2, counts } satisfies WriterStart,
      transferList: [port2],
      // It needs no flags of this process, such as hooks that load its modules.
      execArgv: [],
    });
    worker.unref();
    worker.on("error", () => undefined); // told by the count of its end
    port1.on("message", (answer: WriteAnswer) => {
      this.#take(answer);
    });
    port1.unref();
    return { worker, port: port1, counts };
  }

  #take(answer: WriteAnswer): void {
    const done = this.#pending.shift();
    if (this.#pending.length === 0) {
      this.#thread?.port.unref();
      process.removeListener("exit", this.#atExit);
    }
    if (done === undefined) return;
    if (answer === null) this.#follow(done.then);
    else
      this.#failure ??= answer.isFile
        ? new FileError(answer.message, answer.code, done.path)
        : new NbitError(answer.message, answer.code);
  }

  /** May be in a turn of the event loop, where nobody would catch what is thrown. */
  #follow(steps: readonly (() => void)[]): void {
    try {
      for (const step of steps) step();
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new NbitError(String(error), "ERR_BACKGROUND_WRITER");
    }
  }

  /** Answers that are there. */
  #hear(): void {
    const { port } = this.#thread ?? {};
    if (port === undefined) return;
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
      this.#take((next as { readonly message: WriteAnswer }).message);
  }

  #waitUntil(done: () => boolean): void {
    for (;;) {
      const counts = this.#thread?.counts;
      const seen = counts === undefined ? 0 : Atomics.load(counts, COUNTS.answered);
      this.#hear();
      if (counts === undefined || done()) return;
      if (Atomics.load(counts, COUNTS.ended) !== 0) {
        this.#lose();
        return;
      }
      Atomics.wait(counts, COUNTS.answered, seen, 1000);
    }
  }

  /** The thread ended before its work did. */
  #lose(): void {
    this.#thread = null;
    const lost = this.#pending.splice(0);
    process.removeListener("exit", this.#atExit);
    this.#failure ??= new FileError(
      `write: expected the thread that writes files to live. Received: its end, before ${lost[0]?.path ?? ""} was written.`,
      "ERR_BACKGROUND_WRITER",
      lost[0]?.path ?? "",
    );
  }
}
