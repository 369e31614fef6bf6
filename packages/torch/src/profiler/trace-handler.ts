/** Trace files where TensorBoard finds them. */
import { mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { withFile } from "../io/errors.js";
import { byDefault, filled, flag, orNull } from "../kinds.js";
import { signature } from "../signature.js";
import type { Profile } from "./profile.js";

export interface TraceHandlerOptions {
  /** Told apart where several write: default host name and process id. */
  readonly workerName?: string | null;
  /** Compress the files. Default false. */
  readonly useGzip?: boolean;
}
const read = signature("tensorboardTraceHandler", {
  dirName: filled,
  workerName: byDefault(null, orNull(filled)),
  useGzip: byDefault(false, flag),
});

/**
 * For `onTraceReady`: every trace as a file `worker.time.pt.trace.json` in a folder, which is made where it is missing.
 * `tensorboard --logdir` shows such folders with PyTorch's plugin; Perfetto opens each file.
 */
export function tensorboardTraceHandler(
  ...given:
    | readonly [dirName: string, workerName?: string | null, useGzip?: boolean]
    | readonly [dirName: string, options: TraceHandlerOptions]
): (profile: Profile) => void {
  const { dirName, workerName, useGzip } = read(given);
  return (profile) => {
    withFile("tensorboardTraceHandler", "write", dirName, () => mkdirSync(dirName, { recursive: true }));
    const worker = workerName ?? `${hostname()}_${process.pid}`;
    // Nanoseconds: two traces of one worker in a millisecond have two names.
    const time = BigInt(Date.now()) * 1_000_000n + (process.hrtime.bigint() % 1_000_000n);
    profile.exportChromeTrace(join(dirName, `${worker}.${time}.pt.trace.json${useGzip ? ".gz" : ""}`));
  };
}
