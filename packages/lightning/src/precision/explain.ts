import type { DType, Tensor, nn, optim } from "@nbit/torch";
import type { PrecisionContext, PrecisionDTypes } from "./precision.js";

/** Bytes that training will hold, without activations. */
export interface MemoryForecast {
  readonly parameters: number;
  readonly gradients: number;
  readonly optimizerState: number;
  readonly total: number;
}

export interface ExplanationInput {
  readonly name: string;
  readonly plugin: string;
  readonly dtypes: PrecisionDTypes;
  readonly lossScaling: string;
  readonly context: PrecisionContext | null;
  readonly module: nn.Module | null;
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
      ["optimizer state", this.dtypes.optimizerState],
      ["checkpoint", this.dtypes.checkpoint],
      ["loss scaling", this.lossScaling],
    ];
    if (this.memory !== null) {
      const { parameters, gradients, optimizerState, total } = this.memory;
      rows.push(["memory", `${formatBytes(total)}: parameters ${formatBytes(parameters)}, gradients ${formatBytes(gradients)}, optimizer state ${formatBytes(optimizerState)}; activations come on top`]);
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
    input.module === null ? null : forecastMemory(input.module, input.dtypes, input.optimizers),
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

export function forecastMemory(module: nn.Module, dtypes: PrecisionDTypes, optimizers: readonly optim.Optimizer[]): MemoryForecast {
  let parameters = 0;
  let gradients = 0;
  const stepped = new Set<Tensor>();
  for (const parameter of module.parameters()) {
    parameters += sized(parameter, dtypes.parameters);
    if (!parameter.requiresGrad) continue;
    gradients += sized(parameter, dtypes.gradients);
    stepped.add(parameter);
  }
  let optimizerState = 0;
  for (const optimizer of optimizers) {
    for (const group of optimizer.paramGroups) {
      const states = statesPerElement(group);
      for (const parameter of group.params) if (stepped.has(parameter)) optimizerState += states * sized(parameter, dtypes.optimizerState);
    }
  }
  return { parameters, gradients, optimizerState, total: parameters + gradients + optimizerState };
}

function sized(tensor: Tensor, dtype: DType): number {
  return tensor.numel() * (tensor.isFloatingPoint() ? bytesOf(dtype) : tensor.nbytes / Math.max(1, tensor.numel()));
}

/** How many tensors of a parameter's size an optimizer keeps, read from its group's settings. */
function statesPerElement(group: object): number {
  const has = (key: string): unknown => (key in group ? Reflect.get(group, key) : undefined);
  if (has("betas") !== undefined) return has("amsgrad") === true ? 3 : 2;
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
