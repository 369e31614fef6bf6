/**
 * Where a thread begins. It needs nothing of ours, so that it can say why the rest could not be loaded: who waits for
 * it may be in the middle of a `for…of`, where no event of the thread is heard.
 */
import { workerData } from "node:worker_threads";
import type { Answer, Start } from "./protocol.js";

const { port, signals, id } = workerData as Start;
try {
  await import("./worker.js");
} catch (error) {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  const failure = { name, message, stack: stack ?? message, code: null, nbit: false, cause: null };
  port.postMessage({ kind: "failed", worker: id, pass: -1, index: null, failure } satisfies Answer);
  const numbers = new Int32Array(signals);
  Atomics.add(numbers, 0, 1);
  Atomics.notify(numbers, 0);
}
