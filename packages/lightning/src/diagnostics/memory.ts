/** What training holds between two steps, in bytes, found out before it runs. */
import { atMost, checkArguments, dtypeKind, kinds, nn, optim } from "@nbit/torch";
import type { DType, Tensor } from "@nbit/torch";
import type { PrecisionDTypes } from "../precision/facts.js";
import type { MemoryForecast } from "./memory-forecast.js";

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

/** What a precision holds, for a forecast. */
export interface MemoryLayout {
  /** Of all parameters, or of each. */
  readonly dtypes: PrecisionDTypes | ((parameter: Tensor) => ParameterLayout);
  /**
   * The model's parameter whose master an optimizer steps. Default: no masters have taken the place of parameters yet.
   */
  readonly parameterOf?: (stepped: Tensor) => Tensor;
  /** Bytes of weights that are no parameters. Default 0. */
  readonly otherWeights?: number;
  /** Bytes of casts that are kept from step to step. Default 0. */
  readonly casts?: number;
}

/** Bytes that training in a precision will hold between two steps, without activations. */
export function forecastOf(
  precision: {
    readonly dtypes: PrecisionDTypes;
    describe(): { readonly memory?: (module: nn.Module) => MemoryLayout };
  },
  module: nn.Module,
  optimizers: readonly optim.Optimizer[],
): MemoryForecast {
  const layout = precision.describe().memory?.(module) ?? { dtypes: precision.dtypes };
  const { dtypes, parameterOf, otherWeights = 0, casts = 0 } = layout;
  const forecast = forecastMemory(module, dtypes, optimizers, parameterOf);
  return {
    ...forecast,
    parameters: forecast.parameters + otherWeights,
    casts,
    total: forecast.total + otherWeights + casts,
  };
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
  layout: kinds.either(
    kinds.having<PrecisionDTypes>("dtypes of parameters, gradients and state", {
      parameters: dtypeKind,
      gradients: dtypeKind,
      optimizerState: dtypeKind,
    }),
    kinds.callable,
  ),
  optimizers: kinds.listOf(kinds.instanceOf("an optimizer", optim.Optimizer)),
  modelParameterOf: kinds.callable,
};

/**
 * What parameters, gradients and optimizer state will take, in bytes.
 *
 * @param layout - One record of dtypes for all parameters, or a function that returns each parameter's.
 * @param optimizers - Made, but not necessarily used: their state is forecast from their settings. Without any, state
 * is 0.
 * @param modelParameterOf - The model's parameter that stands behind one of an optimizer's, where masters have taken
 * its place.
 */
export function forecastMemory(
  module: nn.Module,
  layout: PrecisionDTypes | ((parameter: Tensor) => ParameterLayout),
  optimizers: readonly optim.Optimizer[],
  modelParameterOf: (stepped: Tensor) => Tensor = (stepped) => stepped,
): MemoryForecast {
  atMost("forecastMemory", arguments, 4);
  checkArguments("forecastMemory", { module, layout, optimizers, modelParameterOf }, FORECAST);
  const uniform: ParameterLayout | null =
    typeof layout === "function"
      ? null
      : { parameter: layout.parameters, master: null, gradient: layout.gradients, state: layout.optimizerState };
  const of = (parameter: Tensor): ParameterLayout =>
    uniform ?? (layout as (parameter: Tensor) => ParameterLayout)(parameter);
  let parameters = 0;
  let masters = 0;
  let gradients = 0;
  let optimizerState = 0;
  for (const parameter of module.parameters()) {
    const dtypes = of(parameter);
    parameters += sized(parameter, dtypes.parameter);
    if (!parameter.requiresGrad) continue;
    // Of one that is shared out, what this process steps.
    const share = optim.shardOf(parameter);
    const stepped = share === null ? parameter : share.shard;
    if (stepped !== null)
      gradients +=
        sized(stepped, dtypes.gradient) +
        (dtypes.shownGradient === undefined ? 0 : sized(stepped, dtypes.shownGradient));
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
        optimizerState +=
          optimizer.expectedStateBytes(stepped, dtype) ?? states * sized(parameter, dtypes.state) + compensation;
      }
    }
  }
  return {
    parameters,
    masters,
    gradients,
    optimizerState,
    casts: 0,
    total: parameters + masters + gradients + optimizerState,
  };
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
