import { checkOptions, getCpuKernels, kinds, nn, optim, plainText } from "@nbit/torch";
import type { CpuKernels, OptionNames } from "@nbit/torch";
import { formatBytes } from "@nbit/torch/format";
import type { PrecisionContext, PrecisionDTypes } from "../precision/facts.js";
import { formerDescription } from "../precision/former-names.js";
import { moduleClasses, type ModuleClass } from "../module-classes.js";
import type { Batch } from "../types.js";
import { forecastCheckpoints, type CheckpointForecast } from "./checkpoint-forecast.js";
import type { MemoryForecast } from "./memory-forecast.js";
import type { MemoryLayout } from "./memory.js";
import type { ProcessForecast } from "./rank-forecast.js";

export interface ExplainOptions {
  /** The model to forecast for; default: the one in training. */
  readonly module?: nn.Module;
  /** Its optimizers, as `configureOptimizers` makes them; default: those in training. They need not have stepped. */
  readonly optimizers?: readonly optim.Optimizer[];
  /**
   * Forecast what activation checkpointing saves and costs in a step on this batch, by some twelve dry runs, of which
   * no trace stays: of `activationCheckpointing`, or of the Trainer's option. Waits for the device. Needs a module that
   * a Trainer has trained, or trains.
   */
  readonly batch?: Batch;
  /** Classes of modules to forecast for. Default: those of the Trainer's option. */
  readonly activationCheckpointing?: readonly ModuleClass[];
  /** Print it too. Default true. */
  readonly print?: boolean;
}
const EXPLAIN: OptionNames<ExplainOptions> = {
  module: kinds.instanceOf("a module", nn.Module),
  optimizers: kinds.listOf(kinds.instanceOf("an optimizer", optim.Optimizer)),
  batch: true,
  activationCheckpointing: moduleClasses,
  print: kinds.flag,
};

/** What a precision says of itself beyond its dtypes. */
export interface PrecisionDescription {
  /** One line. Default "none". */
  readonly lossScaling?: string;
  /** Modules, or patterns of them, with a precision of their own. */
  readonly modules?: readonly (readonly [name: string, precision: string])[];
  /** What else runs, a phrase each. */
  readonly reasons?: readonly string[];
  /** What is held of a module between two steps, for a forecast. Default: everything in the precision's dtypes. */
  readonly memory?: (module: nn.Module) => MemoryLayout;
}

/** What of a precision is explained. */
export interface Explainable {
  readonly name: string;
  readonly dtypes: PrecisionDTypes;
  readonly context: PrecisionContext | null;
  describe(): PrecisionDescription;
  forecast(module: nn.Module, optimizers: readonly optim.Optimizer[]): MemoryForecast;
}

/** All that an explanation says. */
export interface ExplanationFields {
  /** As the user spelled it; null when a plugin was given. */
  readonly requested: unknown;
  readonly name: string;
  readonly plugin: string;
  readonly reasons: readonly string[];
  readonly dtypes: PrecisionDTypes;
  readonly lossScaling: string;
  readonly device: string;
  readonly support: string;
  /** Which kernels its 16-bit operators run on; null where none run on a CPU. */
  readonly cpuKernels: CpuKernels | null;
  /** Null until there is a module to forecast for. */
  readonly memory: MemoryForecast | null;
  /** Of several processes: what this one will hold. Null: it is alone, or has no more than its share of the module now. */
  readonly process: ProcessForecast | null;
  /** Modules, or patterns of them, with a precision of their own. */
  readonly modules: readonly (readonly [name: string, precision: string])[];
  /** What activation checkpointing saves and costs; null without a batch. */
  readonly activations: CheckpointForecast | null;
  /** How steps of the latest fit ran: replayed, or why eagerly; null before the first. */
  readonly steps: string | null;
  /** How the optimizers keep their state: a dtype, or in words what a low-bit one does. */
  readonly optimizerState: string;
}

/** What `precision.explain()` found. `toString()` is the table. */
export class Explanation implements ExplanationFields {
  readonly requested: ExplanationFields["requested"];
  readonly name: ExplanationFields["name"];
  readonly plugin: ExplanationFields["plugin"];
  readonly reasons: ExplanationFields["reasons"];
  readonly dtypes: ExplanationFields["dtypes"];
  readonly lossScaling: ExplanationFields["lossScaling"];
  readonly device: ExplanationFields["device"];
  readonly support: ExplanationFields["support"];
  readonly cpuKernels: ExplanationFields["cpuKernels"];
  readonly memory: ExplanationFields["memory"];
  readonly process: ExplanationFields["process"];
  readonly modules: ExplanationFields["modules"];
  readonly optimizerState: ExplanationFields["optimizerState"];
  readonly activations: ExplanationFields["activations"];
  readonly steps: ExplanationFields["steps"];

  constructor(fields: ExplanationFields) {
    this.requested = fields.requested;
    this.name = fields.name;
    this.plugin = fields.plugin;
    this.reasons = fields.reasons;
    this.dtypes = fields.dtypes;
    this.lossScaling = fields.lossScaling;
    this.device = fields.device;
    this.support = fields.support;
    this.cpuKernels = fields.cpuKernels;
    this.memory = fields.memory;
    this.process = fields.process;
    this.modules = fields.modules;
    this.optimizerState = fields.optimizerState;
    this.activations = fields.activations;
    this.steps = fields.steps;
  }

  toString(): string {
    const rows: [string, string][] = [
      ["asked", this.requested === undefined || this.requested === null ? "(default)" : String(this.requested)],
      ["runs", `${this.name} (${this.plugin})`],
      ...this.reasons.map((reason): [string, string] => ["because", reason]),
      ["device", `${this.device}: ${this.support}`],
      ...(this.cpuKernels === null ? [] : [["CPU kernels", this.cpuKernels] satisfies [string, string]]),
      ["parameters", this.dtypes.parameters],
      ["compute", this.dtypes.compute],
      ["gradients", this.dtypes.gradients],
      ["optimizer state", this.optimizerState],
      ["checkpoint", this.dtypes.checkpoint],
      ["loss scaling", this.lossScaling],
      ...this.modules.map(([name, precision]): [string, string] => ["modules", `${plainText(name)}: ${precision}`]),
    ];
    if (this.memory !== null) {
      const { parameters, masters, gradients, optimizerState, casts, total } = this.memory;
      rows.push([
        "memory",
        `${formatBytes(total)}: parameters ${formatBytes(parameters)}, ${masters > 0 ? `masters ${formatBytes(masters)}, ` : ""}gradients ${formatBytes(gradients)}, optimizer state ${formatBytes(optimizerState)}${casts > 0 ? `, cached casts ${formatBytes(casts)}` : ""}; activations come on top`,
      ]);
    }
    if (this.process !== null) rows.push(["each process", inProcess(this.process)]);
    if (this.activations !== null) rows.push(["activations", inActivations(this.activations)]);
    if (this.steps !== null) rows.push(["steps", this.steps]);
    const width = Math.max(...rows.map(([label]) => label.length));
    return rows
      .map(([label, text], i) => `${(label === rows[i - 1]?.[0] ? "" : label).padEnd(width)}  ${text}`)
      .join("\n");
  }
}

function forecasts(
  precision: Explainable,
  module: nn.Module | null,
  optimizers: readonly optim.Optimizer[],
): Pick<ExplanationFields, "memory" | "process"> {
  if (module === null) return { memory: null, process: null };
  const memory = precision.forecast(module, optimizers);
  return { memory, process: precision.context?.processForecast?.(module, memory) ?? null };
}

function activationsOf(precision: object, options: ExplainOptions): CheckpointForecast | null {
  const { batch, activationCheckpointing = null } = options;
  return batch === undefined ? null : forecastCheckpoints(precision, batch, activationCheckpointing);
}
function inActivations({ modules, calls, saved, kept, plainSeconds, seconds }: CheckpointForecast): string {
  const ms = (s: number): string => `${(s * 1000).toPrecision(3)} ms`;
  return `checkpointing ${modules || "nothing"}: ${calls} forwards run again, and keep ${formatBytes(kept)} of arguments in place of ${formatBytes(saved)}; a step of ${ms(plainSeconds)} takes ${ms(seconds)}`;
}

function inProcess(forecast: ProcessForecast): string {
  const { strategy, worldSize, rank, parameters, gradients, optimizerState, buckets, total, gathered } = forecast;
  const more = buckets > 0 ? `, buckets ${formatBytes(buckets)}` : "";
  const units = gathered > 0 ? `; up to ${formatBytes(gathered)} of units gathered at a time come on top` : "";
  return `${formatBytes(total)} on rank ${rank} of ${worldSize}, strategy "${strategy}": parameters ${formatBytes(parameters)}, gradients ${formatBytes(gradients)}, optimizer state ${formatBytes(optimizerState)}${more}${units}`;
}

/**
 * Explain a precision, with a forecast for what is in training unless options name a model. Prints it, unless `print`
 * is false.
 *
 * @throws {ArgumentError} `explain: expected options among module, optimizers, print. Received: "silent".`
 */
export function explainPrecision(
  precision: Explainable,
  training: TrainingParts,
  options: ExplainOptions,
): Explanation {
  checkOptions("explain", options, EXPLAIN);
  const { context, dtypes } = precision;
  const module = options.module ?? training.module;
  const optimizers = options.optimizers ?? training.optimizers;
  const {
    lossScaling = "none",
    modules = [],
    reasons = [],
  } = { ...precision.describe(), ...formerDescription(precision) };
  const states = new Set(optimizers.map((optimizer) => optimizer.stateFormat ?? dtypes.optimizerState));
  const explanation = new Explanation({
    requested: context?.requested ?? null,
    name: precision.name,
    plugin: precision.constructor.name,
    reasons: [...(context?.reasons ?? []), ...reasons],
    dtypes,
    lossScaling,
    device: context?.accelerator.name ?? "unknown",
    support: context?.accelerator.support(context.deviceIndex).description ?? "no Trainer yet",
    cpuKernels: kernelsOf(precision),
    ...forecasts(precision, module, optimizers),
    modules,
    activations: activationsOf(precision, options),
    steps: context?.steps?.() ?? null,
    optimizerState: [...states].join("; ") || dtypes.optimizerState,
  });
  if (options.print !== false) console.log(explanation.toString());
  return explanation;
}

function kernelsOf({ context, dtypes }: Explainable): CpuKernels | null {
  const rounds = dtypes.compute !== "float32" && dtypes.compute !== "float64";
  return context?.accelerator.name === "cpu" && rounds ? (context.cpuKernels ?? getCpuKernels()) : null;
}

/** What a precision was connected to last. */
export interface TrainingParts {
  readonly module: nn.Module | null;
  readonly optimizers: readonly optim.Optimizer[];
}
