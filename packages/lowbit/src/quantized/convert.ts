/** Put quantized layers in place of linear ones. */
import { ArgumentError, atMost, checkOptions, kinds, nn, type OptionNames, type Tensor } from "@nbit/torch";
import { ConversionReport, type ConvertedLayer } from "../float8/convert.js";
import { replaceChildren } from "../replace.js";
import { QuantizedLinear } from "./linear.js";
import { formatOf, QUANTIZE, type QuantizeWeightOptions } from "./quantize.js";

export interface QuantizeWeightsOptions extends QuantizeWeightOptions {
  /**
   * Which linear layers to quantize, by module and path. Default: all. Output layers are better left: `(_, path) =>
   * path !== "head"`.
   */
  readonly filter?: (module: nn.Linear, path: string) => boolean;
}
/** @internal What `quantizeWeights` takes besides its format, for what passes its options on. */
export const QUANTIZE_OPTIONS: OptionNames<Omit<QuantizeWeightsOptions, "format">> = {
  blockSize: QUANTIZE.blockSize,
  filter: kinds.callable,
};
const NAMES: OptionNames<QuantizeWeightsOptions> = { ...QUANTIZE, ...QUANTIZE_OPTIONS };

/**
 * Replace linear layers of a module by {@link QuantizedLinear}, in place, and freeze them. Do this once the weights are
 * there: state dicts of the module change with it.
 *
 * A layer stays as it is when the filter refuses it, its weight is shared with another module (nothing would be saved),
 * is not in float32, bfloat16 or float16, or it is of a class of its own. The report names every layer and why.
 * @throws {ArgumentError} `quantizeWeights: expected a module with linear layers inside. Received: …`
 * @example console.log(String(quantizeWeights(model, { format: "nf4-dq", filter: (_, path) => path !== "head" })));
 */
export function quantizeWeights(module: nn.Module, options: QuantizeWeightsOptions): ConversionReport {
  const fn = "quantizeWeights";
  if (!(module instanceof nn.Module)) throw new ArgumentError(fn, "a module", module);
  if (module instanceof nn.Linear)
    throw new ArgumentError(
      fn,
      "a module with linear layers inside",
      module,
      "Use QuantizedLinear.from(linear, { format }) for one layer.",
    );
  atMost(fn, arguments, 2);
  checkOptions(fn, options, NAMES);
  const { filter, ...quantize } = options;
  const format = formatOf(fn, quantize.format);
  const holders = new Map<Tensor, string[]>();
  for (const [path, m] of module.namedModules())
    for (const [, p] of m.namedParameters({ recurse: false })) holders.set(p, [...(holders.get(p) ?? []), path]);
  const layers: ConvertedLayer[] = [];
  replaceChildren(module, (child, path) => {
    if (child instanceof QuantizedLinear) {
      layers.push({
        path,
        layer: `QuantizedLinear(${child.inFeatures}, ${child.outFeatures})`,
        converted: false,
        reason: `quantized already, ${child.format}`,
      });
      return null;
    }
    if (!(child instanceof nn.Linear)) return null;
    const why = obstacle(child, path, holders.get(child.weight) ?? [], filter);
    layers.push({
      path,
      layer: `${child.constructor.name}(${child.inFeatures}, ${child.outFeatures}${child.bias === null ? "" : ", bias"})`,
      converted: why === null,
      reason: why ?? format,
    });
    return why === null ? QuantizedLinear.from(child, quantize) : null;
  });
  return new ConversionReport(`quantized weights, ${format}`, layers);
}

function obstacle(
  linear: nn.Linear,
  path: string,
  holders: readonly string[],
  filter: QuantizeWeightsOptions["filter"],
): string | null {
  if (linear.constructor !== nn.Linear)
    return `a class of its own (${linear.constructor.name}), whose forward may differ`;
  if (!["float32", "bfloat16", "float16"].includes(linear.weight.dtype)) return `its weight is ${linear.weight.dtype}`;
  const others = holders.filter((h) => h !== path);
  if (others.length > 0) return `its weight is shared with ${others.join(", ")}`;
  if (filter !== undefined && !filter(linear, path)) return "the filter refused it";
  return null;
}
