import { ArgumentError, atMost, checkOptions, kinds, nn, optim, type OptionNames, plainText } from "@nbit/torch";
import type { LightningModule } from "../module.js";
import { lookAtForward, type ForwardFacts } from "../throughput/look-at-forward.js";
import { forecastMemory } from "../diagnostics/memory.js";
import type { MemoryForecast } from "../diagnostics/memory-forecast.js";
import type { PrecisionDTypes } from "../precision/facts.js";
import type { TrainerView } from "../trainer-view.js";
import { paintFor, plainPaint, streamKind, type OutputStream, type Paint } from "../ui/ansi.js";
import { formatBytes, formatCount, formatInteger } from "@nbit/torch/format";
import { formatTable } from "../ui/table.js";
import { Callback } from "./callback.js";

/** One line of a summary. */
export interface LayerSummary {
  /** Path in the module tree; "" for parameters that the module itself holds. */
  readonly name: string;
  readonly type: string;
  /** Elements in the parameters of this layer and everything beneath it. */
  readonly parameters: number;
  readonly trainable: number;
  /** Dtypes of those parameters, in order of appearance. */
  readonly dtypes: readonly string[];
  readonly bytes: number;
  /** Of a forward of the example input; null without one. */
  readonly flops: number | null;
  /** Shapes of what it takes and gives in that forward: "[2, 3]"; "?" where it is not called. Null without one. */
  readonly inSize: string | null;
  readonly outSize: string | null;
}

/** What a model consists of. `toString()` is the table. */
export class Summary {
  constructor(
    readonly layers: readonly LayerSummary[],
    readonly trainable: number,
    readonly nonTrainable: number,
    /** Bytes of all parameters; one that is used twice counts once. */
    readonly bytes: number,
    /** Bytes of running statistics and the like. */
    readonly bufferBytes: number,
    /** Gradients and optimizer state to come; null without optimizers. */
    readonly forecast: MemoryForecast | null,
    /** Layers are those of the whole model, and of it the forecast is this process's share. */
    readonly sharded = false,
    /** Of a forward of the example input; null without one. */
    readonly flops: number | null = null,
  ) {}

  get parameters(): number {
    return this.trainable + this.nonTrainable;
  }

  toString(paint: Paint = plainPaint): string {
    const rows = this.layers.map((layer) => [
      layer.name === "" ? "(own)" : plainText(layer.name),
      plainText(layer.type),
      formatCount(layer.parameters),
      layer.dtypes.length === 0 ? "–" : layer.dtypes.join(", "),
      layer.parameters === 0 ? "0 B" : formatBytes(layer.bytes),
      ...(this.flops === null ? [] : [formatCount(layer.flops ?? 0), layer.inSize ?? "", layer.outSize ?? ""]),
      layer.trainable === layer.parameters ? "" : layer.trainable === 0 ? "frozen" : "part frozen",
    ]);
    const frozen = rows.some((row) => row.at(-1) !== "");
    const columns = [
      { title: "name" },
      { title: "type" },
      { title: "parameters", align: "right" },
      { title: "dtype" },
      { title: "bytes", align: "right" },
      ...(this.flops === null
        ? []
        : ([
            { title: "FLOPs", align: "right" },
            { title: "in", align: "right" },
            { title: "out", align: "right" },
          ] as const)),
      ...(frozen ? [{ title: "" } as const] : []),
    ] as const;
    return `${formatTable(columns, rows, { paint })}\n${this.#totals(paint)}`;
  }

  #totals(paint: Paint): string {
    const lines = [
      `${formatInteger(this.trainable)} trainable, ${formatInteger(this.nonTrainable)} non-trainable parameters`,
    ];
    const share = this.sharded ? this.forecast : null;
    const parts = [`parameters ${formatBytes(share?.parameters ?? this.bytes)}`];
    if (this.bufferBytes > 0) parts.push(`buffers ${formatBytes(this.bufferBytes)}`);
    if (this.forecast !== null) {
      parts.push(
        `gradients ${formatBytes(this.forecast.gradients)}`,
        `optimizer state ${formatBytes(this.forecast.optimizerState)}`,
      );
      lines.push(
        `${formatBytes(this.forecast.total + this.bufferBytes)} in training${share === null ? "" : " on this process"} ${paint("dim", `(${parts.join(", ")}; activations come on top)`)}`,
      );
    } else lines.push(parts.join(", "));
    if (this.flops !== null) lines.push(`${formatCount(this.flops)} FLOPs in a forward of the example input`);
    return lines.map((line) => ` ${line}`).join("\n");
  }
}

export interface SummarizeOptions {
  /** Levels of the module tree to list; -1 for all. Default 1. */
  readonly maxDepth?: number;
  /** With these, the summary forecasts the bytes of gradients and optimizer state. */
  readonly optimizers?: readonly optim.Optimizer[];
  /** Dtypes that training will use: `trainer.precision.dtypes`. */
  readonly dtypes?: PrecisionDTypes;
  /**
   * Arguments of a forward, whose FLOPs and sizes are shown by layer: a tensor, or an array of arguments. Default: the module's
   * field `exampleInputArray`, where it has one.
   */
  readonly exampleInput?: unknown;
}

const DEPTH = kinds.whole("[-1, ∞)");
const SUMMARIZE: OptionNames<SummarizeOptions> = {
  maxDepth: DEPTH,
  optimizers: kinds.listOf(kinds.instanceOf("an optimizer", optim.Optimizer)),
  dtypes: kinds.record,
  exampleInput: true,
};
const FULL: PrecisionDTypes = {
  parameters: "float32",
  compute: "float32",
  gradients: "float32",
  optimizerState: "float32",
  checkpoint: "float32",
};

/**
 * Count parameters and bytes, layer by layer: of the whole model, also where it is shared out. Reads no tensor data but
 * for FLOPs, which take a forward of the example input, in evaluation mode.
 *
 * @throws {ArgumentError} `summarize: expected maxDepth to be a whole number ≥ -1. Received: -2.`
 * @example
 * console.log(String(summarize(model, { maxDepth: 2 })));
 */
export function summarize(module: nn.Module, options: SummarizeOptions = {}): Summary {
  atMost("summarize", arguments, 2);
  checkOptions("summarize", options, SUMMARIZE);
  if (!(module instanceof nn.Module)) throw new ArgumentError("summarize", "a module", module);
  const { maxDepth = 1, optimizers = [] } = options;

  const example: unknown = options.exampleInput ?? Reflect.get(module, "exampleInputArray");
  const forward = example === undefined || example === null ? null : lookAtForward(module, example);
  const layers: LayerSummary[] = [];
  const own = layerOf(
    "",
    "–",
    [...module.namedParameters({ recurse: false })].map(([, parameter]) => parameter),
  );
  if (own.parameters > 0) layers.push(own);
  for (const [name, child] of module.namedModules()) {
    if (name === "" || (maxDepth >= 0 && name.split(".").length > maxDepth)) continue;
    const layer = layerOf(name, child.constructor.name, child.parameters());
    layers.push(forward === null ? layer : { ...layer, ...inForward(name, forward) });
  }

  const total = layerOf("", "", module.parameters());
  let bufferBytes = 0;
  for (const buffer of module.buffers()) bufferBytes += buffer.nbytes;
  const forecast = optimizers.length === 0 ? null : forecastMemory(module, options.dtypes ?? FULL, optimizers);
  return new Summary(
    layers,
    total.trainable,
    total.parameters - total.trainable,
    total.bytes,
    bufferBytes,
    forecast,
    module.parameters().some((parameter) => optim.shardOf(parameter) !== null),
    forward === null ? null : (forward.flops.get("") ?? 0),
  );
}

function inForward(name: string, { flops, sizes }: ForwardFacts): Pick<LayerSummary, "flops" | "inSize" | "outSize"> {
  const size = sizes.get(name) ?? { in: "?", out: "?" };
  return { flops: flops.get(name) ?? 0, inSize: size.in, outSize: size.out };
}

function layerOf(name: string, type: string, parameters: readonly nn.Parameter[]): LayerSummary {
  let count = 0;
  let trainable = 0;
  let bytes = 0;
  const dtypes = new Set<string>();
  for (const parameter of parameters) {
    const numel = optim.shardOf(parameter)?.numel ?? parameter.numel();
    count += numel;
    if (parameter.requiresGrad) trainable += numel;
    bytes += numel * parameter.itemsize;
    dtypes.add(parameter.dtype);
  }
  return {
    name,
    type,
    parameters: count,
    trainable,
    dtypes: [...dtypes],
    bytes,
    flops: null,
    inSize: null,
    outSize: null,
  };
}

export interface ModelSummaryOptions {
  /** Levels of the module tree to list; -1 for all, 0 for no summary. Default 1. */
  readonly maxDepth?: number;
  /** Default `process.stdout`. */
  readonly stream?: OutputStream;
}
const NAMES: OptionNames<ModelSummaryOptions> = { maxDepth: DEPTH, stream: streamKind };

/**
 * Prints the model's layers, with parameters, dtypes and bytes, before training starts, and a forecast of what
 * gradients and optimizer state will take.
 *
 * @throws {ArgumentError} `ModelSummary: expected maxDepth to be a whole number ≥ -1. Received: -2.`
 */
export class ModelSummary extends Callback {
  readonly #maxDepth: number;
  readonly #stream: OutputStream;

  constructor(options: ModelSummaryOptions = {}) {
    super();
    atMost("ModelSummary", arguments, 1);
    checkOptions("ModelSummary", options, NAMES);
    const { maxDepth = 1 } = options;
    this.#maxDepth = maxDepth;
    this.#stream = options.stream ?? process.stdout;
  }

  override onFitStart(trainer: TrainerView, module: LightningModule): void {
    if (this.#maxDepth === 0 || !trainer.isGlobalZero) return;
    const summary = summarize(module, {
      maxDepth: this.#maxDepth,
      optimizers: trainer.optimizers,
      dtypes: trainer.precision.dtypes,
    });
    this.#stream.write(`${summary.toString(paintFor(this.#stream))}\n\n`);
  }
}
