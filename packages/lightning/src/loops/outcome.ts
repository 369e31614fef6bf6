import { inspect } from "node:util";
import { keep, Tensor } from "@nbit/torch";
import type { PrecisionStep } from "../precision/precision.js";
import type { StepOutcome } from "../types.js";

/** Gathers what one iteration did. Values on a device are read when asked for. */
export class Outcome implements StepOutcome {
  #first: PrecisionStep | null = null;
  #rest: PrecisionStep[] | null = null;
  #scale: number | (() => number) = 1;
  #norm: number | Tensor | undefined = undefined;

  add(step: PrecisionStep): void {
    if (this.#first === null) this.#first = step;
    else (this.#rest ??= []).push(step);
  }

  /** The scale in force, for an iteration without a step. */
  scaleIs(scale: number | (() => number)): void {
    this.#scale = scale;
  }

  gradNormIs(norm: Tensor): void {
    if (this.#norm instanceof Tensor) this.#norm.dispose();
    this.#norm = norm.device.type === "cpu" ? norm.item() : keep(norm);
  }

  /** The norm where it lies, unread: for who reads that memory again and again. */
  get measuredNorm(): number | Tensor | undefined {
    return this.#norm;
  }

  /** The first step's scale, likewise. */
  get scaleTensor(): Tensor | null {
    return this.#first?.scaleTensor ?? null;
  }

  get stepped(): boolean {
    return (this.#first?.stepped ?? false) || (this.#rest?.some((step) => step.stepped) ?? false);
  }

  get skipped(): boolean {
    return (this.#first !== null && !this.#first.stepped) || (this.#rest?.some((step) => !step.stepped) ?? false);
  }

  get lossScale(): number {
    return this.#first?.lossScale ?? (typeof this.#scale === "number" ? this.#scale : this.#scale());
  }

  get gradNorm(): number | undefined {
    if (this.#norm instanceof Tensor) {
      const value = this.#norm.item();
      this.#norm.dispose();
      this.#norm = value;
    }
    return this.#norm;
  }

  get nonFinite(): readonly string[] | undefined {
    const names = [this.#first, ...(this.#rest ?? [])].flatMap((step) => step?.nonFinite ?? []);
    return names.length > 0 ? names : undefined;
  }

  /** What console.log shows. */
  [inspect.custom](): StepOutcome {
    const { stepped, skipped, lossScale, gradNorm, nonFinite } = this;
    return { stepped, skipped, lossScale, ...(gradNorm === undefined ? {} : { gradNorm }), ...(nonFinite === undefined ? {} : { nonFinite }) };
  }
}
