import { amp, nn } from "@nbit/torch";
import type { optim, Tensor } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";

/** Layers whose weights no matrix operator takes. An embedding's may be those of a head, too. */
const UNCAST = [
  nn.BatchNorm1d,
  nn.BatchNorm2d,
  nn.BatchNorm3d,
  nn.SyncBatchNorm,
  nn.LayerNorm,
  nn.GroupNorm,
  nn.RMSNorm,
] as const;

/** The cached casts of a precision plugin that wants them: made when a run begins, gone when it ends. */
export class RunCasts {
  /** Null: where they cost no pass of their own. */
  readonly #wanted: boolean | null;
  #casts: amp.WeightCasts | null = null;

  constructor(plugin: string, wanted: unknown, otherwise: false | null = false) {
    if (wanted !== undefined && typeof wanted !== "boolean")
      throw new MisconfigurationError(
        plugin,
        "cacheWeightCasts to be true or false",
        wanted,
        undefined,
        "ERR_PRECISION_PLUGIN",
      );
    this.#wanted = wanted ?? otherwise;
  }

  /** `recorded`: steps become CUDA graphs, in which casts live as long as a step anyhow. */
  begin(module: nn.Module, deviceType: string, optimizers: readonly optim.Optimizer[] = [], recorded = false): void {
    this.end();
    const free =
      recorded && deviceType === "cuda" && optimizers.length > 0 && optimizers.every((o) => o.stepsWeightCasts);
    if (this.#wanted ?? free) this.#casts = new amp.WeightCasts(module, deviceType);
  }
  end(): void {
    this.#casts?.dispose();
    this.#casts = null;
  }
  run<T>(fn: () => T): T {
    return this.#casts === null ? fn() : this.#casts.run(fn);
  }
  /** What they take now. */
  get bytes(): number {
    return this.#casts?.bytes ?? 0;
  }

  /** How many were made by a pass of their own. */
  get made(): number {
    return this.#casts?.made ?? 0;
  }

  /** Two bytes for each float32 weight that a matrix operator may take: the most that there will be. */
  forecast(module: nn.Module): number {
    if (this.#wanted !== true && this.#casts === null) return 0;
    const cast = new Set<Tensor>();
    for (const layer of module.modules()) {
      if (UNCAST.some((type) => layer instanceof type)) continue;
      for (const [, parameter] of layer.namedParameters({ recurse: false }))
        if (parameter.dtype === "float32") cast.add(parameter);
    }
    return [...cast].reduce((bytes, parameter) => bytes + 2 * parameter.numel(), 0);
  }
}
