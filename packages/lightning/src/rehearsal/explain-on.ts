import { ArgumentError, atMost, checkOptions, kinds, type OptionNames } from "@nbit/torch";
import type { AheadReport } from "../diagnostics/ahead-report.js";
import type { LightningModule } from "../module.js";
import type { FitOptions } from "../run-options.js";
import { Trainer } from "../trainer.js";
import type { TrainerOptions } from "../trainer-options.js";
import { AheadCompilation } from "./ahead-compilation.js";

export interface ExplainOnOptions {
  /** Chips, as Google's cloud names them: `v5e:2x4`, `v4:2x2x1`, `v6e:4x4`; or `cpu:4`, devices of the CPU plugin. */
  readonly topology: string;
  /** Batches to train on; default: the module's own. Two are taken. */
  readonly trainDataloaders?: FitOptions["trainDataloaders"];
  /**
   * Options of the Trainer that would train. Its precision, accumulation, clipping and strategy count: "fsdp" splits
   * parameters and optimizer state. Its devices, loggers, callbacks and limits do not.
   */
  readonly trainer?: TrainerOptions;
  /** A plugin's file. Default: what `nbit setup --tpu` and `--xla` made. It runs code of that library's. */
  readonly plugin?: string;
}
const NAMES: OptionNames<ExplainOnOptions> = {
  topology: kinds.filled,
  trainDataloaders: true,
  trainer: true,
  plugin: kinds.filled,
};

/**
 * Compile a training step for chips that need not be there, and say what it takes: memory on each, FLOPs, collectives.
 *
 * The module takes a step on the host, as the first of a fit; the next is recorded and compiled, and nothing runs on the
 * chips. Use another module to train: this one has stepped, and its precision may have converted it. Takes seconds to
 * minutes.
 *
 * @throws {MisconfigurationError} `ERR_TOPOLOGY_PLUGIN`: no plugin compiles for it here. `ERR_TOPOLOGY_BATCHES`: there are
 * fewer than two steps of batches. What stands in the way of training there.
 * @throws {XlaError} `XLA_NO_LOWERING` with the user's line; `XLA_SHARDING` where a batch does not divide among the
 * chips; the compiler's own, for a topology that it does not know.
 * @example
 * const report = await explainOn(new Net(), { topology: "v5e:2x2", trainDataloaders, trainer: { precision: "bf16" } });
 * report.programs[0].memory?.peak; // bytes on each chip
 */
export async function explainOn(module: LightningModule, options: ExplainOnOptions): Promise<AheadReport> {
  atMost("explainOn", arguments, 2);
  checkOptions("explainOn", options, NAMES);
  const { topology, trainDataloaders, trainer: given = {}, plugin = null } = options;
  if (typeof topology !== "string") throw new ArgumentError("explainOn", "a topology, such as v5e:2x2", topology);
  const compilation = new AheadCompilation(topology, plugin);
  const trainer = new Trainer(compilation.options(given));
  return compilation.report(trainer, () => trainer.fit(module, { trainDataloaders }));
}
