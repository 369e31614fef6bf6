/** Put float8 layers in place of linear ones. */
import { ArgumentError, atMost, checkOptions, kinds, nn, type OptionNames, plainText } from "@nbit/torch";
import { replaceChildren } from "../replace.js";
import { FLOAT8, Float8Linear, FLOAT8_MULTIPLE, type Float8Options } from "./linear.js";
import { recipeOf, type Float8RecipeName } from "./recipes.js";

export interface ConvertToFloat8Options extends Float8Options {
  /** Which linear layers to convert, by module and path such as `blocks.0.mlp.fc`. Default: all. */
  readonly filter?: (module: nn.Linear, path: string) => boolean;
  /**
   * Layers with a side shorter than this stay: casts cost more there than the products gain. Default 16. On GPUs, 1024
   * or more is worth converting.
   */
  readonly minFeatures?: number;
}

/** @internal What `convertToFloat8` takes, for what passes its options on. */
export const FLOAT8_OPTIONS: OptionNames<ConvertToFloat8Options> = {
  ...FLOAT8,
  filter: kinds.callable,
  minFeatures: kinds.whole("[1, ∞)"),
};

/** What became of one layer. */
export interface ConvertedLayer {
  readonly path: string;
  /** "Linear(768, 3072)". */
  readonly layer: string;
  readonly converted: boolean;
  readonly reason: string;
}

/** Every layer with weights that are multiplied, converted or not, with the reason. `toString()` is the table. */
export class ConversionReport {
  constructor(
    readonly title: string,
    readonly layers: readonly ConvertedLayer[],
  ) {
    atMost("ConversionReport", arguments, 2);
  }
  get converted(): readonly ConvertedLayer[] {
    return this.layers.filter((l) => l.converted);
  }
  get skipped(): readonly ConvertedLayer[] {
    return this.layers.filter((l) => !l.converted);
  }
  toString(): string {
    const rows = this.layers.map(
      (l) => [plainText(l.path), plainText(l.layer), l.converted ? "converted" : "left", l.reason] as const,
    );
    const widths = [0, 1, 2].map((i) => Math.max(...rows.map((r) => (r[i] ?? "").length), 0));
    const lines = rows.map((r) =>
      r
        .map((text, i) => (i < 3 ? text.padEnd(widths[i] ?? 0) : text))
        .join("  ")
        .trimEnd(),
    );
    return [`${this.title}: ${this.converted.length} of ${this.layers.length} layers converted`, ...lines].join("\n");
  }
}

/**
 * Replace linear layers of a module by {@link Float8Linear}, in place. Parameters are the same tensors: optimizers,
 * tied weights and checkpoints are not affected.
 *
 * A layer stays as it is when the filter refuses it, a side is not a multiple of 16 or shorter than `minFeatures`, its
 * weight is not float32, bfloat16 or float16, or it is of a class of its own. The report names every layer and why.
 * @throws {ArgumentError} `convertToFloat8: expected a module with linear layers inside. Received: …` for a linear
 * layer itself.
 * @example
 * const report = convertToFloat8(model, { recipe: "rowwise", filter: (_, path) => path !== "head" });
 * console.log(String(report));
 */
export function convertToFloat8(module: nn.Module, options: ConvertToFloat8Options = {}): ConversionReport {
  if (!(module instanceof nn.Module)) throw new ArgumentError("convertToFloat8", "a module", module);
  if (module instanceof nn.Linear)
    throw new ArgumentError(
      "convertToFloat8",
      "a module with linear layers inside",
      module,
      "Use Float8Linear.from(linear) for one layer.",
    );
  atMost("convertToFloat8", arguments, 2);
  checkOptions("convertToFloat8", options, FLOAT8_OPTIONS);
  const recipe: Float8RecipeName = recipeOf("convertToFloat8", options.recipe ?? "tensorwise").name;
  const minFeatures = options.minFeatures ?? FLOAT8_MULTIPLE;
  const { historyLength } = options;
  const layers: ConvertedLayer[] = [];
  const say = (path: string, layer: string, converted: boolean, reason: string): void =>
    void layers.push({ path, layer, converted, reason });
  replaceChildren(module, (child, path) => {
    if (child instanceof Float8Linear) {
      say(
        path,
        `Float8Linear(${child.inFeatures}, ${child.outFeatures})`,
        false,
        `float8 already, ${child.recipe.name}`,
      );
      return null;
    }
    if (!(child instanceof nn.Linear)) {
      if ([...child.namedParameters({ recurse: false })].some(([, p]) => p.ndim >= 2))
        say(path, child.constructor.name, false, "only linear layers have a float8 form");
      return null;
    }
    const why = obstacle(child, path, minFeatures, options.filter);
    say(
      path,
      `${child.constructor.name}(${child.inFeatures}, ${child.outFeatures}${child.bias === null ? "" : ", bias"})`,
      why === null,
      why ?? recipe,
    );
    return why === null
      ? Float8Linear.from(child, { recipe, ...(historyLength === undefined ? {} : { historyLength }) })
      : null;
  });
  return new ConversionReport(`float8, ${recipe}`, layers);
}

function obstacle(
  linear: nn.Linear,
  path: string,
  minFeatures: number,
  filter: ConvertToFloat8Options["filter"],
): string | null {
  const { inFeatures, outFeatures, weight } = linear;
  if (linear.constructor !== nn.Linear)
    return `a class of its own (${linear.constructor.name}), whose forward may differ`;
  if (!["float32", "bfloat16", "float16"].includes(weight.dtype)) return `its weight is ${weight.dtype}`;
  const odd = [["inFeatures", inFeatures] as const, ["outFeatures", outFeatures] as const].filter(
    ([, n]) => n % FLOAT8_MULTIPLE !== 0,
  );
  if (odd.length > 0)
    return `${odd.map(([name, n]) => `${name} ${n}`).join(" and ")} ${odd.length > 1 ? "are" : "is"} not a multiple of ${FLOAT8_MULTIPLE}`;
  if (Math.min(inFeatures, outFeatures) < minFeatures) return `a side is shorter than minFeatures ${minFeatures}`;
  if (filter !== undefined && !filter(linear, path)) return "the filter refused it";
  return null;
}
