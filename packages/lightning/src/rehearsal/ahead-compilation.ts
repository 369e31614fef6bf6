/** A fit that ends when its steps are compiled, for chips that need not be there. */
import { aheadReport, type AheadReport } from "../diagnostics/ahead-report.js";
import { TopologyAccelerator } from "../accelerators/topology.js";
import { MisconfigurationError } from "../errors.js";
import { XLAStrategy } from "../strategies/xla.js";
import type { TrainerOptions } from "../trainer-options.js";
import type { TrainerView } from "../trainer-view.js";
import { SILENT_FIT } from "./rehearse.js";

/** Ends a fit: everything that it would run is compiled. */
class Compiled extends Error {
  override readonly name = "Compiled";
}

/** Strategies whose processes hold shares of parameters and optimizer state; all others hold all of both. */
const SHARED = new Set(["fsdp"]);
/** They say when training ends, and this fit ends by itself. */
const LIMITS = ["maxTime", "minEpochs", "minSteps", "maxEpochs", "limitTrainBatches", "overfitBatches"] as const;

export class AheadCompilation {
  readonly #topology: string;
  readonly #accelerator: TopologyAccelerator;
  #wanted = 1;

  /** @param topology - `v5e:2x4`, `v4:2x2x1`, `cpu:4`. @param plugin - Its file; null: what set-up made. */
  constructor(topology: string, plugin: string | null) {
    this.#topology = topology;
    this.#accelerator = new TopologyAccelerator(topology, plugin, ({ length }) => {
      if (length >= this.#wanted) throw new Compiled("every step is compiled");
    });
    const missing = this.#accelerator.missing();
    if (missing !== null) throw new MisconfigurationError("explain", missing, "none", undefined, "ERR_TOPOLOGY_PLUGIN");
  }

  /** Those of a Trainer that compiles in the place of training. What it would show, write and validate is left out. */
  options(given: TrainerOptions): TrainerOptions {
    const { strategy = "auto", accumulateGradBatches = 1 } = given;
    // A window's first batch, those within it, and its last are programs of their own.
    this.#wanted = Math.min(accumulateGradBatches, 3);
    const kept = Object.fromEntries(
      Object.entries(given).filter(([name]) => !(LIMITS as readonly string[]).includes(name)),
    );
    return {
      ...kept,
      ...SILENT_FIT,
      accelerator: this.#accelerator,
      devices: -1,
      numNodes: 1,
      strategy: SHARED.has(typeof strategy === "string" ? strategy : strategy.name) ? "fsdp" : "auto",
      maxSteps: 2,
      detectNonFinite: false,
      cudaGraph: false,
    };
  }

  /**
   * @param fit - Of `trainer`, which was made of {@link options}.
   * @throws What stands in the way of compiling: an operator without a lowering, a batch that does not divide.
   */
  async report(trainer: TrainerView, fit: () => Promise<void>): Promise<AheadReport> {
    try {
      await fit();
    } catch (error) {
      if (!(error instanceof Compiled)) throw error;
    }
    const { device } = this.#accelerator.plugin;
    if (device === null || device.programs.length < this.#wanted)
      throw new MisconfigurationError(
        "explain",
        "a fit of two steps or more",
        `${trainer.globalStep} steps`,
        "The first runs on the host, and the next is recorded and compiled: give it more batches.",
        "ERR_TOPOLOGY_BATCHES",
      );
    const { precision, strategy } = trainer;
    return aheadReport({
      topology: device.topology,
      programs: device.programs,
      precision,
      shardState: strategy instanceof XLAStrategy && strategy.shardState,
      name: this.#topology,
    });
  }
}
