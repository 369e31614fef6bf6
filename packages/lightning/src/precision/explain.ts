import { atMost, checkArguments, dtypeKind, kinds, nn, optim, plainText } from "@nbit/torch";
import type { DType, Tensor } from "@nbit/torch";
import type { PrecisionContext, PrecisionDTypes } from "./precision.js";

/** Bytes that training will hold, without activations. */
export interface MemoryForecast {
  readonly parameters: number;
  /** Float32 copies that the optimizer steps in place of 16-bit parameters. */
  readonly masters: number;
  readonly gradients: number;
  readonly optimizerState: number;
  /** 16-bit casts of weights that are kept from step to step. */
  readonly casts: number;
  readonly total: number;
}

/** In which dtypes a parameter, its gradient and its state are held between two steps. */
export interface ParameterLayout {
  readonly parameter: DType;
  /** Of the copy that the optimizer steps in its place; null without one. */
  readonly master: DType | null;
  readonly gradient: DType;
  /** Of the gradient that the parameter shows beside its master's; absent without one. */
  readonly shownGradient?: DType;
  readonly state: DType;
}

export interface ExplanationInput {
  readonly name: string;
  readonly plugin: string;
  readonly dtypes: PrecisionDTypes;
  readonly lossScaling: string;
  readonly context: PrecisionContext | null;
  /** Null until there is a module to forecast for. */
  readonly memory: MemoryForecast | null;
  readonly modules: readonly (readonly [string, string])[];
  readonly optimizers: readonly optim.Optimizer[];
}

/** What `precision.explain()` found. `toString()` is the table. */
export class Explanation {
  constructor(
    readonly requested: unknown,
    readonly name: string,
    readonly plugin: string,
    readonly reasons: readonly string[],
    readonly dtypes: PrecisionDTypes,
    readonly lossScaling: string,
    readonly device: string,
    readonly support: string,
    /** Null until there is a module to forecast for. */
    readonly memory: MemoryForecast | null,
    /** Modules, or patterns of them, with a precision of their own. */
    readonly modules: readonly (readonly [name: string, precision: string])[] = [],
    /** How the optimizers keep their state: a dtype, or in words what a low-bit one does. */
    readonly optimizerState: string = dtypes.optimizerState,
  ) {}

  toString(): string {
    const rows: [string, string][] = [
      ["asked", this.requested === undefined || this.requested === null ? "(default)" : String(this.requested)],
      ["runs", `${this.name} (${this.plugin})`],
      ...this.reasons.map((reason): [string, string] => ["because", reason]),
      ["device", `${this.device}: ${this.support}`],
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
      rows.push(["memory", `${formatBytes(total)}: parameters ${formatBytes(parameters)}, ${masters > 0 ? `masters ${formatBytes(masters)}, ` : ""}gradients ${formatBytes(gradients)}, optimizer state ${formatBytes(optimizerState)}${casts > 0 ? `, kept casts ${formatBytes(casts)}` : ""}; activations come on top`]);
    }
    const width = Math.max(...rows.map(([label]) => label.length));
    return rows.map(([label, text], i) => `${(label === rows[i - 1]?.[0] ? "" : label).padEnd(width)}  ${text}`).join("\n");
  }
}

export function makeExplanation(input: ExplanationInput): Explanation {
  const { context } = input;
  return new Explanation(
    context?.requested ?? null,
    input.name,
    input.plugin,
    context?.reasons ?? [],
    input.dtypes,
    input.lossScaling,
    context?.accelerator.name ?? "unknown",
    context?.accelerator.support(context.deviceIndex).description ?? "no Trainer yet",
    input.memory,
    input.modules,
    [...new Set(input.optimizers.map((o) => o.stateFormat ?? input.dtypes.optimizerState))].join("; ") || input.dtypes.optimizerState,
  );
}

/** Bytes per element of the floating dtypes that parameters and gradients may have. */
export function bytesOf(dtype: DType): number {
  if (dtype.startsWith("float8")) return 1;
  switch (dtype) {
    case "float64":
      return 8;
    case "float16":
    case "bfloat16":
      return 2;
    default:
      return 4;
  }
}

const FORECAST = {
  module: kinds.instanceOf("a module", nn.Module),
  layout: kinds.either(kinds.having<PrecisionDTypes>("dtypes of parameters, gradients and state", { parameters: dtypeKind, gradients: dtypeKind, optimizerState: dtypeKind }), kinds.callable),
  optimizers: kinds.listOf(kinds.instanceOf("an optimizer", optim.Optimizer)),
  modelParameterOf: kinds.callable,
};

/**
 * What parameters, gradients and optimizer state will take, in bytes.
 *
 * @param layout - One record of dtypes for all parameters, or a function that returns each parameter's.
 * @param optimizers - Made, but not necessarily used: their state is forecast from their settings. Without any, state is 0.
 * @param modelParameterOf - The model's parameter that stands behind one of an optimizer's, where masters have taken its place.
 */
export function forecastMemory(
  module: nn.Module,
  layout: PrecisionDTypes | ((parameter: Tensor) => ParameterLayout),
  optimizers: readonly optim.Optimizer[],
  modelParameterOf: (stepped: Tensor) => Tensor = (stepped) => stepped,
): MemoryForecast {
  atMost("forecastMemory", arguments, 4);
  checkArguments("forecastMemory", { module, layout, optimizers, modelParameterOf }, FORECAST);
  const uniform: ParameterLayout | null = typeof layout === "function" ? null : { parameter: layout.parameters, master: null, gradient: layout.gradients, state: layout.optimizerState };
  const of = (parameter: Tensor): ParameterLayout => uniform ?? (layout as (parameter: Tensor) => ParameterLayout)(parameter);
  let parameters = 0;
  let masters = 0;
  let gradients = 0;
  let optimizerState = 0;
  for (const parameter of module.parameters()) {
    const dtypes = of(parameter);
    parameters += sized(parameter, dtypes.parameter);
    if (!parameter.requiresGrad) continue;
    gradients += sized(parameter, dtypes.gradient) + (dtypes.shownGradient === undefined ? 0 : sized(parameter, dtypes.shownGradient));
    if (dtypes.master !== null && optimizers.length === 0) masters += sized(parameter, dtypes.master);
  }
  for (const optimizer of optimizers) {
    for (const group of optimizer.paramGroups) {
      const states = statesPerElement(group);
      for (const stepped of group.params) {
        const parameter = modelParameterOf(stepped);
        const dtypes = of(parameter);
        if (dtypes.master !== null) masters += sized(parameter, dtypes.master); // also of a frozen one
        if (!parameter.requiresGrad) continue;
        const dtype = dtypes.master ?? dtypes.parameter;
        // Only 16-bit parameters have a compensation, in their own dtype.
        const compensation = group["rounding"] === "kahan" && bytesOf(dtype) === 2 ? sized(parameter, dtype) : 0;
        optimizerState += optimizer.expectedStateBytes(stepped, dtype) ?? states * sized(parameter, dtypes.state) + compensation;
      }
    }
  }
  return { parameters, masters, gradients, optimizerState, casts: 0, total: parameters + masters + gradients + optimizerState };
}

function sized(tensor: Tensor, dtype: DType): number {
  return tensor.isFloatingPoint() ? tensor.numel() * bytesOf(dtype) : tensor.nbytes;
}

/** How many tensors of a parameter's size an optimizer keeps in its state's dtype, read from its group's settings. */
function statesPerElement(group: object): number {
  const has = (key: string): unknown => (key in group ? Reflect.get(group, key) : undefined);
  if (has("betas") !== undefined) return has("amsgrad") === true ? 3 : 2;
  const history = has("historySize");
  if (typeof history === "number") return 2 * history + 2; // LBFGS, once its history is full
  let states = 0;
  if (has("alpha") !== undefined || has("lrDecay") !== undefined) states += 1;
  if (has("centered") === true) states += 1;
  const momentum = has("momentum");
  if (typeof momentum === "number" && momentum > 0) states += 1;
  return states;
}

export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
