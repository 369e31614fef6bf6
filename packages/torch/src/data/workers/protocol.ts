/** What the thread that trains and those that load say to each other. */
import type { MessagePort } from "node:worker_threads";
import type { Where } from "../fetch.js";
import type { Packed } from "./pack.js";
import type { Place } from "./locate.js";

/** What a thread is made with. */
export interface Start {
  readonly id: number;
  readonly numWorkers: number;
  /** Of the loader's first pass; each thread draws from this and its id. */
  readonly seed: bigint;
  /** Drawn from as well; null: it is not. */
  readonly rank: number | null;
  /** Dataset, or recipe of one; collateFn and workerInitFn. Tensors: positions in `tensors`. */
  readonly packed: Packed;
  /** What this thread takes over. */
  readonly tensors: readonly number[];
  readonly batched: boolean;
  readonly batchSize: number | null;
  readonly dropLast: boolean;
  /** What the thread hands over goes in this group. */
  readonly group: number;
  readonly port: MessagePort;
  /** Int32Array: see {@link SIGNALS}. */
  readonly signals: SharedArrayBuffer;
}
/** Where each thread gets its dataset: the export of a module, made or called with arguments. */
export interface Recipe extends Place {
  readonly args: readonly unknown[];
}

/** Places in the shared numbers. */
export const SIGNALS = {
  /** Messages posted, by all threads. */ posted: 0,
  /** The pass that counts. */ pass: 1,
  length: 2,
} as const;

/** To a thread. */
export type Order =
  /** A pass begins; streams begin anew, after so many batches. */
  | { readonly kind: "pass"; readonly pass: number; readonly skip: number; readonly random: Uint8Array | null }
  /** Load a batch; null of a stream, whose next it is. */
  | { readonly kind: "load"; readonly pass: number; readonly index: number; readonly where: Where | null }
  | { readonly kind: "end" };

/** From a thread. */
export type Answer =
  | { readonly kind: "ready"; readonly worker: number; readonly facts: Facts }
  | {
      readonly kind: "batch";
      readonly worker: number;
      readonly pass: number;
      readonly index: number;
      readonly batch: Packed;
      readonly random: Uint8Array;
    }
  /** A stream has no more. */
  | { readonly kind: "dry"; readonly worker: number; readonly pass: number; readonly index: number }
  /** Without an index: nothing more can come from this thread. */
  | {
      readonly kind: "failed";
      readonly worker: number;
      readonly pass: number;
      readonly index: number | null;
      readonly failure: Failure;
    };

/** What a dataset that a thread has made turned out to be. */
export interface Facts {
  readonly stream: boolean;
  readonly length: number | null;
}

/** An error on its way. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  readonly code: string | null;
  /** Whether it is an nbit error: its class is then looked for by name. */
  readonly nbit: boolean;
  readonly cause: Failure | null;
}
