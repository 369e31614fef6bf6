/** Checkpoints that every process writes a part of: a folder with a file for each, and a manifest. */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { packState, writeManifest, writeShard } from "@nbit/torch";
import type { DType, Tensor, TensorPart } from "@nbit/torch";
import type { Run } from "../run.js";
import type { Collectives } from "../strategies/strategy.js";
import { splitState, type SplitState } from "./split-state.js";
import { dumpCheckpoint } from "./state.js";
import { gatherStates, inAll } from "./together.js";

export interface SaveShardedOptions {
  readonly path: string;
  readonly weightsOnly: boolean;
  readonly dtype: DType | null;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Save in parts. Every process calls this; it fails on all of them where it fails on one, and the folder then holds
 * what it held before.
 */
export function saveSharded(run: Run, collectives: Collectives, options: SaveShardedOptions): void {
  const { path, weightsOnly, dtype, metadata } = options;
  const fn = "Trainer.saveCheckpoint";
  const { globalRank: rank, isGlobalZero } = run.strategy;
  let split: SplitState | null = null;
  const checkpoint = gatherStates(run, collectives, !weightsOnly, () => {
    split = splitState(run, weightsOnly, dtype);
    return dumpCheckpoint(run, weightsOnly, null, split);
  });
  const { parts, names } = partsOf(split);
  const { save, folder } = collectives.broadcastObject({ save: randomBytes(8).toString("hex"), folder: path });
  const packed = inAll(fn, collectives, () => (isGlobalZero ? packState(checkpoint) : null));
  try {
    const shard = inAll(fn, collectives, () => {
      const rest = Object.entries(packed?.tensors ?? {}).filter(([name]) => !names.has(name));
      return writeShard(folder, save, rank, [...parts, ...rest.map(([name, data]) => whole(name, data))]);
    });
    const all = collectives.allGatherObject(shard);
    inAll(fn, collectives, () => {
      if (packed === null) return;
      const tensors = Object.fromEntries(
        Object.entries(packed.tensors).map(([name, { dtype: type, shape }]) => [name, { dtype: type, shape }]),
      );
      writeManifest(folder, all, { tensors, json: packed.json, metadata });
    });
  } catch (error) {
    rmSync(join(folder, `${save}.rank-${rank}.safetensors`), { force: true });
    throw error;
  }
}

const partsOf = (split: SplitState | null): Pick<SplitState, "parts" | "names"> =>
  split ?? { parts: [], names: new Set<string>() };
const whole = (name: string, data: Tensor): TensorPart => ({ name, start: 0, end: data.numel(), data });
