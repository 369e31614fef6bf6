/** A fit that is resumed half-way, beside one that was not interrupted: equal to the last bit. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isTensor, seedEverything } from "@nbit/torch";
import { Callback, Trainer, type TrainerView } from "@nbit/lightning";
import { SILENT } from "../../helpers/training.js";
import { bitsOf } from "./loop.js";
import { batchesOf, moduleOf, type MakeOptimizer } from "./net.js";
import type { PrecisionCase } from "./precisions.js";

const STEPS = 24;

/** Writes a checkpoint after half of the steps. */
class Half extends Callback {
  constructor(readonly path: string) {
    super();
  }
  override onTrainBatchEnd(trainer: TrainerView): void {
    if (trainer.globalStep === STEPS / 2) (trainer as Trainer).saveCheckpoint(this.path);
  }
}

/** Weights and optimizer state, as text. */
function stateOf(module: ReturnType<typeof moduleOf>, trainer: Trainer): string {
  const state = trainer.optimizers.flatMap((o) =>
    Object.entries(o.stateDict().state).flatMap(([i, s]) =>
      Object.entries(s).map(
        ([name, v]) => `${i}.${name}: ${isTensor(v) ? `${v.dtype} ${v.device.toString()} ${bitsOf([v])}` : String(v)}`,
      ),
    ),
  );
  return [bitsOf(module.parameters()), ...state.sort(), String(trainer.lossScale)].join("\n");
}

/** @returns What is wrong; null: nothing. */
export async function resumes(
  precision: PrecisionCase,
  makeOptimizer: MakeOptimizer,
  graph: boolean,
  device: "cpu" | "cuda",
): Promise<string | null> {
  const folder = mkdtempSync(join(tmpdir(), "nbit-resume-"));
  try {
    const path = join(folder, "half.ckpt");
    const run = async (callbacks: readonly Callback[], ckptPath: string | null): Promise<string> => {
      seedEverything(5);
      const module = moduleOf("automatic", makeOptimizer);
      const batches = batchesOf(STEPS, device, "automatic");
      const trainer = new Trainer({
        ...SILENT,
        accelerator: device === "cuda" ? "gpu" : "cpu",
        ...precision.options(),
        cudaGraph: graph,
        gradientClipVal: 1,
        maxEpochs: 1,
        deterministic: "warn",
        callbacks: [...callbacks],
      });
      await trainer.fit(module, { trainDataloaders: batches, ckptPath });
      return stateOf(module, trainer);
    };
    const whole = await run([new Half(path)], null);
    const resumed = await run([], path);
    if (whole === resumed) return null;
    const [a, b] = [whole.split("\n"), resumed.split("\n")];
    const differing = a.flatMap((line, i) =>
      line === b[i] ? [] : [`${line.slice(0, 60)} … ${(b[i] ?? "nothing").slice(0, 60)}`],
    );
    return `${differing.length} of ${a.length} entries differ, such as ${differing[0] ?? "their number"}`;
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message.split("\n")[0] ?? ""}` : String(error);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
