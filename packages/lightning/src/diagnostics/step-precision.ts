import { resolve } from "node:path";
import { atMost, checkPath, writeText, plainText } from "@nbit/torch";
import type { DType } from "@nbit/torch";
import { plainPaint } from "../ui/ansi.js";
import type { Paint } from "../ui/ansi.js";
import { formatInteger } from "@nbit/torch/format";
import { formatTable } from "../ui/table.js";
import type { OperatorUse } from "./attribution.js";
import { sharesIn } from "./number-range.js";
import type { NumberRange } from "./number-range.js";

/** What one module did in one step. Plain data. */
export interface ModulePrecision {
  /** Dotted name; "" for the step method itself. */
  readonly name: string;
  readonly type: string;
  readonly calls: number;
  /** Dtypes of its own parameters. */
  readonly parameters: readonly DType[];
  /** Its own operators, without those of modules inside it; slowest first. */
  readonly operators: readonly OperatorUse[];
  /** Its outputs; null when it had none in floating point. */
  readonly activations: NumberRange | null;
  /** Gradients of its outputs, multiplied by the loss scale, as backward computes them. */
  readonly activationGradients: NumberRange | null;
  /** Gradients of its own parameters, multiplied by the loss scale. */
  readonly parameterGradients: NumberRange | null;
  /** Of several processes, those in which numbers overflow in the compute dtype; absent where none or all do. */
  readonly overflowRanks?: readonly number[];
}

/** What all modules did, as JSON has it. */
export interface StepPrecisionData {
  readonly format: 1;
  readonly kind: "step-precision";
  readonly model: string;
  /** Name of the precision, such as "bf16-mixed". */
  readonly precision: string;
  /** Dtype in which matrix operators are meant to compute. */
  readonly compute: DType;
  readonly device: string;
  /** Optimizer steps before this one. */
  readonly step: number;
  readonly lossScale: number;
  /** Of how many processes the numbers are; absent: of one. Times, operators and calls are those of process 0. */
  readonly worldSize?: number;
  readonly modules: readonly ModulePrecision[];
}

/** Sums over some operators. */
export interface Totals {
  readonly seconds: number;
  readonly casts: number;
  readonly castSeconds: number;
  /** Seconds by dtype, casts left out; largest first. */
  readonly byDtype: readonly (readonly [DType | "other", number])[];
}

/**
 * What one training step computed in, module by module: the answer of {@link PrecisionReport} and
 * `trainer.precision.report()`.
 *
 * `toString()` is the table; `toJSON()` and `save(path)` are for `writePrecisionReport` of `@nbit/dashboard`, which
 * draws it. Times are the CPU's: on a GPU they are those of launching.
 */
export class StepPrecision implements StepPrecisionData {
  readonly format = 1;
  readonly kind = "step-precision";
  readonly model: string;
  readonly precision: string;
  readonly compute: DType;
  readonly device: string;
  readonly step: number;
  readonly lossScale: number;
  readonly worldSize?: number;
  readonly modules: readonly ModulePrecision[];

  constructor(data: Omit<StepPrecisionData, "format" | "kind">) {
    this.model = data.model;
    this.precision = data.precision;
    this.compute = data.compute;
    this.device = data.device;
    this.step = data.step;
    this.lossScale = data.lossScale;
    if (data.worldSize !== undefined) this.worldSize = data.worldSize;
    this.modules = data.modules;
  }

  /** The module of a dotted name. */
  module(name: string): ModulePrecision | undefined {
    atMost("StepPrecision.module", arguments, 1);
    return this.modules.find((m) => m.name === name);
  }

  totals(phase?: "forward" | "backward"): Totals {
    atMost("StepPrecision.totals", arguments, 1);
    return totalsOf(this.modules.flatMap((m) => m.operators).filter((o) => phase === undefined || o.phase === phase));
  }

  toJSON(): StepPrecisionData {
    const { format, kind, model, precision, compute, device, step, lossScale, worldSize, modules } = this;
    const ranks = worldSize === undefined ? {} : { worldSize };
    return { format, kind, model, precision, compute, device, step, lossScale, ...ranks, modules };
  }

  /** Write it as JSON, whole or not at all. @returns The absolute path. */
  save(path: string): string {
    atMost("StepPrecision.save", arguments, 1);
    checkPath("StepPrecision.save", path);
    const target = resolve(path);
    writeText("StepPrecision.save", target, `${JSON.stringify(this)}\n`);
    return target;
  }

  toString(paint: Paint = plainPaint): string {
    const shown = this.modules.filter((m) => m.operators.length > 0);
    const rows = shown.map((m) => {
      const forward = totalsOf(m.operators.filter((o) => o.phase === "forward"));
      const backward = totalsOf(m.operators.filter((o) => o.phase === "backward"));
      return [
        m.name === "" ? "(step)" : plainText(m.name),
        plainText(m.type),
        dtypesOf(m.operators, "forward"),
        dtypesOf(m.operators, "backward"),
        formatInteger(forward.casts + backward.casts),
        `${milliseconds(forward.seconds)} + ${milliseconds(backward.seconds)}`,
        span(m.activations),
        flow(m.activations, this.compute, paint),
        span(m.activationGradients ?? m.parameterGradients),
        flow(m.activationGradients ?? m.parameterGradients, this.compute, paint),
      ];
    });
    const all = this.totals();
    const launching = this.device !== "cpu";
    const columns = [
      { title: "module" },
      { title: "type" },
      { title: "forward in" },
      { title: "backward in" },
      { title: "casts", align: "right" },
      { title: launching ? "launch ms fwd + bwd" : "ms fwd + bwd", align: "right" },
      { title: "activations", align: "right" },
      { title: "lost / over", align: "right" },
      { title: "gradients", align: "right" },
      { title: "lost / over", align: "right" },
    ] as const;
    const table = formatTable(columns, rows, { paint });
    const shares = all.byDtype.map(([dtype, seconds]) => `${percent(seconds, all.seconds)} ${dtype}`);
    const partly = shown.filter((m) => m.overflowRanks !== undefined);
    const lines = [
      ` ${plainText(this.model)}, precision ${this.precision}, on ${this.device}, step ${this.step}${this.worldSize === undefined ? "" : `, numbers of ${this.worldSize} processes, times of process 0`}`,
      table,
      ` ${launching ? "time of launching, while the device works by itself" : "time"}: ${[...shares, `${percent(all.castSeconds, all.seconds)} in ${formatInteger(all.casts)} casts`].join(", ")}`,
      paint(
        "dim",
        ` lost / over: share that ${this.compute} turns into zero, and into infinity${this.lossScale === 1 ? "" : `; gradients are multiplied by the loss scale, ${formatInteger(this.lossScale)}`}`,
      ),
      ...partly.map((m) =>
        paint("red", ` ${plainText(m.name || "(step)")} overflows on rank ${m.overflowRanks?.join(", ")} alone`),
      ),
    ];
    return lines.join("\n");
  }
}

export function totalsOf(operators: readonly OperatorUse[]): Totals {
  let seconds = 0;
  let casts = 0;
  let castSeconds = 0;
  const byDtype = new Map<DType | "other", number>();
  for (const o of operators) {
    seconds += o.seconds;
    casts += o.casts;
    castSeconds += o.castSeconds;
    const dtype = o.dtype ?? "other";
    byDtype.set(dtype, (byDtype.get(dtype) ?? 0) + Math.max(0, o.seconds - o.castSeconds));
  }
  return { seconds, casts, castSeconds, byDtype: [...byDtype].sort((a, b) => b[1] - a[1]) };
}

/** What a module's operators compute in, the longest first; casts, and sums into `.grad`, compute nothing. */
function dtypesOf(operators: readonly OperatorUse[], phase: "forward" | "backward"): string {
  const computing = operators.filter(
    (o) => o.phase === phase && o.reason !== "cast" && o.name !== "AccumulateGrad" && o.dtype !== null,
  );
  const { byDtype } = totalsOf(computing);
  return byDtype.length === 0 ? "–" : byDtype.map(([dtype]) => dtype).join(", ");
}

function milliseconds(seconds: number): string {
  const ms = seconds * 1000;
  return ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2);
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / (whole || 1)).toFixed(1)} %`;
}

function power(value: number | null): string {
  return value === null ? "–" : value.toExponential(0);
}

function span(range: NumberRange | null): string {
  return range === null || range.count === 0 ? "–" : `${power(range.smallest)} … ${power(range.largest)}`;
}

function flow(range: NumberRange | null, compute: DType, paint: Paint): string {
  if (range === null || range.count === 0) return "–";
  const { lost, overflow } = sharesIn(range, compute);
  const part = (share: number): string =>
    share === 0 ? "0" : share < 0.001 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`;
  return `${lost > 0.01 ? paint("yellow", part(lost)) : part(lost)} / ${overflow > 0 ? paint("red", part(overflow)) : part(overflow)}`;
}
