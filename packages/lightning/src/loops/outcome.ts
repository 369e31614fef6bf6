import { inspect } from "node:util";
import { keep, LateNumbers } from "@nbit/torch";
import type { DeviceLike, LateRow, Tensor } from "@nbit/torch";
import type { PrecisionStep } from "../precision/precision.js";
import type { RankOverflow } from "../diagnostics/non-finite-origin.js";
import type { CommonOverflow } from "../ranks/overflows.js";
import type { StepOutcome } from "../types.js";

/** The loss scale of iterations without a step: the one in force until the step that ends them, which then tells it. */
export class ScaleInForce {
  #step: PrecisionStep | null = null;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }
  endedBy(step: PrecisionStep): void {
    this.#step = step;
  }
  get value(): number {
    return this.#step?.lossScale ?? this.#now();
  }
}

/** Norms that stay on a device until somebody asks. */
export class LateNorms {
  readonly #rows: LateNumbers;

  constructor(device: DeviceLike) {
    this.#rows = new LateNumbers({ device, dtype: "float64", columns: 1, rows: 256 });
  }
  /** A copy of `norm`; `reader` is told its value. */
  keep(norm: Tensor, reader: (value: number) => void): LateRow {
    const row = this.#rows.take();
    row.values[0]?.copy_(norm);
    this.#rows.remember(row, ([value = NaN]) => reader(value));
    this.#rows.release(row);
    return row;
  }
  readAll(): void {
    this.#rows.readAll();
  }
  lend(row: LateRow): Tensor | undefined {
    this.#rows.retire(row);
    return row.values[0];
  }
}

/** Where a graph that recorded an iteration finds its numbers after each replay. */
export interface LentOutcome {
  readonly norm: Tensor | number | undefined;
  readonly scale: Tensor | null;
}

/** Gathers what one iteration did. Values on a device are read when asked for. */
export class Outcome implements StepOutcome {
  #first: PrecisionStep | null = null;
  #rest: PrecisionStep[] | null = null;
  #scale: number | ScaleInForce = 1;
  #norm: number | undefined = undefined;
  #common: CommonOverflow | null = null;
  #keptNorm: Tensor | null = null;
  #lateNorm: { readonly norms: LateNorms; readonly row: LateRow } | null = null;

  add(step: PrecisionStep): void {
    if (this.#first === null) this.#first = step;
    else (this.#rest ??= []).push(step);
  }

  /** The scale in force, for an iteration without a step. */
  scaleIs(scale: number | ScaleInForce): void {
    this.#scale = scale;
  }

  /** `late`: where norms wait until they are asked for; null: it is read now; "kept": it is the program's, which keeps it. */
  gradNormIs(norm: Tensor, late: LateNorms | "kept" | null): void {
    this.#lateNorm = null;
    this.#keptNorm = null;
    if (late === "kept") {
      this.#keptNorm = keep(norm);
      this.#norm = undefined;
      return;
    }
    if (late === null) {
      this.#norm = norm.item();
      return;
    }
    const row = late.keep(norm, (value) => {
      if (this.#lateNorm?.row === row) this.#norm = value;
    });
    this.#lateNorm = { norms: late, row };
    this.#norm = undefined;
  }

  /** For a graph that recorded this iteration: the memory that its replays write to is its own from here on. */
  lend(): LentOutcome {
    const late = this.#lateNorm;
    this.#lateNorm = null;
    if (this.#keptNorm !== null) return { norm: this.#keptNorm, scale: null };
    return { norm: late === null ? this.#norm : late.norms.lend(late.row), scale: this.#first?.lend?.() ?? null };
  }

  get stepped(): boolean {
    return (this.#first?.stepped ?? false) || (this.#rest?.some((step) => step.stepped) ?? false);
  }

  get skipped(): boolean {
    return (this.#first !== null && !this.#first.stepped) || (this.#rest?.some((step) => !step.stepped) ?? false);
  }

  get lossScale(): number {
    return this.#first?.lossScale ?? (typeof this.#scale === "number" ? this.#scale : this.#scale.value);
  }

  get gradNorm(): number | undefined {
    if (this.#norm === undefined) this.#lateNorm?.norms.readAll();
    if (this.#norm === undefined && this.#keptNorm !== null) this.#norm = this.#keptNorm.item();
    return this.#norm;
  }

  /** Skipped by several processes: what they found together. */
  ofAll(common: CommonOverflow): void {
    this.#common = common;
  }
  get ranks(): readonly RankOverflow[] | undefined {
    return this.#common?.ranks ?? undefined;
  }

  get nonFinite(): readonly string[] | undefined {
    if (this.#common !== null) return this.#common.nonFinite;
    const names = [this.#first, ...(this.#rest ?? [])].flatMap((step) => step?.nonFinite ?? []);
    return names.length > 0 ? names : undefined;
  }

  /** What console.log shows. */
  [inspect.custom](): StepOutcome {
    const { stepped, skipped, lossScale, gradNorm, nonFinite, ranks } = this;
    return {
      stepped,
      skipped,
      lossScale,
      ...(gradNorm === undefined ? {} : { gradNorm }),
      ...(nonFinite === undefined ? {} : { nonFinite }),
      ...(ranks === undefined ? {} : { ranks }),
    };
  }
}
