/** Saving by several processes: each gives what is its own, process 0 writes, and all learn what became of it. */
import {
  DistributedError,
  FileError,
  NbitError,
  packState,
  plainText,
  scope,
  serializeSafetensors,
  parseSafetensors,
  SafetensorsFile,
  unpackState,
} from "@nbit/torch";
import { isError } from "@nbit/torch/realm";
import type { Run } from "../run.js";
import type { Collectives } from "../strategies/strategy.js";
import type { Checkpoint, RankState } from "./format.js";
import { bufferDigests, buffersUnlike, rankStateOf } from "./rank-state.js";

const CALL = "Trainer.saveCheckpoint";
const STATE = "state";

/**
 * Gather one checkpoint in process 0 and write it there. Every process calls this; it fails on all of them where it
 * fails on one.
 *
 * @param dump - This process's checkpoint. May call collectives.
 * @param write - Called in process 0, with the checkpoint of all.
 * @throws {DistributedError} `ERR_DIST_MISMATCH` where another process does something else.
 */
export function saveTogether(
  run: Run,
  collectives: Collectives,
  whole: boolean,
  dump: () => Checkpoint,
  write: (checkpoint: Checkpoint) => void,
): void {
  const checkpoint = gatherStates(run, collectives, whole, dump);
  inAll(CALL, collectives, () => {
    if (run.strategy.isGlobalZero) write(checkpoint);
  });
}

/** This process's checkpoint, in process 0 with the states of all. */
export function gatherStates(run: Run, collectives: Collectives, whole: boolean, dump: () => Checkpoint): Checkpoint {
  const { module, strategy } = run;
  const announced = announce(collectives, { call: CALL, buffers: whole ? bufferDigests(module) : {} });
  const dumped = inAll(CALL, collectives, dump);
  const mine =
    !whole || strategy.isGlobalZero
      ? new Uint8Array(0)
      : pack(
          rankStateOf(dumped, buffersUnlike(module, announced[0]?.buffers ?? {}), strategy.gradientDict !== undefined),
        );
  const theirs = collectives.gatherBytes(mine);
  return theirs === null || !whole ? dumped : { ...dumped, ranks: theirs.slice(1).map(unpack) };
}

interface Announcement {
  readonly call: string;
  readonly buffers: Readonly<Record<string, string>>;
}

/** What each process is about to do: the same, or none does it. */
function announce(collectives: Collectives, mine: Announcement): readonly Announcement[] {
  const fail = (received: string): DistributedError =>
    new DistributedError(
      plainText(
        `saveCheckpoint: expected every process to call it, since each has a part of the checkpoint. Received: ${received.replace(/\.?$/, ".")} Call it on all ranks, outside of conditions on the rank: rank 0 alone writes the file.`,
      ),
      "ERR_DIST_MISMATCH",
    );
  try {
    const all = collectives.allGatherObject(mine);
    const other = all.findIndex((one) => one.call !== CALL);
    if (other !== -1) throw fail(`another collective on rank ${other}.`);
    return all;
  } catch (error) {
    if (error instanceof NbitError && error.code === "ERR_DIST_MISMATCH" && !error.message.startsWith("saveCheckpoint"))
      throw fail(error.message);
    throw error;
  }
}

/** Do something in every process, each its own. @throws in all processes where it fails in one. */
export function inAll<T>(fn: string, collectives: Collectives, work: () => T): T {
  let own: { readonly value: T } | { readonly error: unknown };
  try {
    own = { value: work() };
  } catch (error) {
    own = { error };
  }
  const all = collectives.allGatherObject("error" in own ? reportOf(own.error) : null);
  if ("error" in own) throw own.error;
  const rank = all.findIndex((report) => report !== null);
  const report = all[rank];
  if (report !== undefined && report !== null) throw errorOf(fn, rank, report);
  return own.value;
}

/** What process 0 finds, in every process; where it fails, all do. */
export function byRankZero<T>(fn: string, collectives: Collectives | null | undefined, rank: number, work: () => T): T {
  if (collectives === null || collectives === undefined) return work();
  let own: { readonly value: T } | { readonly report: Report } | null = null;
  let failure: unknown = null;
  if (rank === 0) {
    try {
      own = { value: work() };
    } catch (error) {
      failure = error;
      own = { report: reportOf(error) };
    }
  }
  const outcome = collectives.broadcastObject(own);
  if (outcome === null) throw new RangeError(fn);
  if ("value" in outcome) return outcome.value;
  throw failure ?? errorOf(fn, 0, outcome.report);
}

interface Report {
  readonly message: string;
  readonly code: string | null;
  readonly path: string | null;
}
function reportOf(error: unknown): Report {
  const code = isError(error) && "code" in error && typeof error.code === "string" ? error.code : null;
  return {
    message: isError(error) ? error.message : String(error),
    code,
    path: error instanceof FileError ? error.path : null,
  };
}
/** With the code that the error has where it arose, so that all processes can tell it alike. */
function errorOf(fn: string, rank: number, { message, code, path }: Report): NbitError {
  const text = plainText(`${fn}: rank ${rank} failed: ${message}`);
  return path === null
    ? new DistributedError(text, code ?? "ERR_DIST_PEER_FAILED")
    : new FileError(text, code ?? "ERR_DIST_PEER_FAILED", path);
}

function pack(state: RankState): Uint8Array {
  return scope(() => {
    const { tensors, json } = packState(state);
    return serializeSafetensors(tensors, { metadata: { [STATE]: json } });
  });
}
function unpack(bytes: Uint8Array): RankState {
  const { metadata } = SafetensorsFile.over(bytes);
  return unpackState({ tensors: parseSafetensors(bytes), json: metadata[STATE] ?? "" }) as RankState;
}
