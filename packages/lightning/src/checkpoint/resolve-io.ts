/** Which of a Trainer's plugins saves its checkpoints. */
import { verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import type { Strategy } from "../strategies/strategy.js";
import { AsyncCheckpointIO } from "./async-checkpoint-io.js";
import { CheckpointIO } from "./checkpoint-io.js";
import { TorchCheckpointIO } from "./torch-checkpoint-io.js";

/** @throws {MisconfigurationError} `ERR_CHECKPOINT_IO` for two of them. */
export function takeCheckpointIO(plugins: readonly unknown[]): {
  readonly checkpointIO: CheckpointIO;
  /** The other plugins. */
  readonly others: readonly unknown[];
} {
  const found = plugins.filter((plugin) => plugin instanceof CheckpointIO);
  if (found.length > 1)
    throw new MisconfigurationError(
      "Trainer",
      "at most one CheckpointIO in plugins",
      found.map((io) => io.constructor.name).join(", "),
      "Remove one of them.",
      "ERR_CHECKPOINT_IO",
    );
  return {
    checkpointIO: found[0] ?? new TorchCheckpointIO(),
    others: plugins.filter((plugin) => !(plugin instanceof CheckpointIO)),
  };
}

/** Where every process writes a part, no single one saves. */
export function checkCheckpointIO(io: CheckpointIO, { stateDictType }: Pick<Strategy, "stateDictType">): void {
  if (stateDictType !== "sharded" || isPlain(io)) return;
  throw new MisconfigurationError(
    "Trainer",
    `a strategy with stateDictType "full" beside ${io.constructor.name}, which one process calls`,
    verbatim('stateDictType "sharded", of which every process writes a part'),
    "Remove one of them.",
    "ERR_CHECKPOINT_IO",
  );
}

/** Files that this package knows, and reads in part. */
export function isPlain(io: CheckpointIO): boolean {
  return !isCustom(io) && io instanceof TorchCheckpointIO && !io.writesFolders && io.format === "safetensors";
}

/** Whether it saves to places that are no files of these, or not only. */
export function isCustom(io: CheckpointIO): boolean {
  return io.constructor !== TorchCheckpointIO && io.constructor !== AsyncCheckpointIO;
}
