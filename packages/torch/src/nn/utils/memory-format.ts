/** Weights of convolutions in the layout that a device's kernels like. */
import { such } from "../../kinds.js";
import type { MemoryFormat } from "../../ops/index.js";
import type { OptionNames } from "../../options.js";
import { signature, type Call } from "../../signature.js";
import { scope } from "../../tensor/scope.js";
import { ConvTranspose2d, ConvTranspose3d } from "../conv-transpose.js";
import { Conv2d, Conv3d } from "../conv.js";
import type { Module } from "../module.js";
import { moduleKind, tensorOf } from "./fields.js";

/** PyTorch's own spelling is taken too. */
type Spelled = MemoryFormat | "channels_last" | "channels_last_3d" | "contiguous_format" | "preserve_format";
const FORMATS: Readonly<Record<string, MemoryFormat>> = {
  contiguousFormat: "contiguousFormat",
  contiguous_format: "contiguousFormat",
  preserveFormat: "preserveFormat",
  preserve_format: "preserveFormat",
  channelsLast: "channelsLast",
  channels_last: "channelsLast",
  channelsLast3d: "channelsLast3d",
  channels_last_3d: "channelsLast3d",
};
export interface WeightFormatArguments {
  readonly module: Module;
  readonly memoryFormat: Spelled;
}
const ROWS = {
  module: moduleKind,
  memoryFormat: such<Spelled>(
    "one of channelsLast, channelsLast3d, contiguousFormat, preserveFormat",
    (v) => typeof v === "string" && Object.hasOwn(FORMATS, v),
  ),
} satisfies OptionNames<WeightFormatArguments>;
type FormatCall<M extends Module> = Call<
  WeightFormatArguments & { readonly module: M },
  ["module", "memoryFormat"],
  [module: M, memoryFormat: Spelled]
>;

type Layer = abstract new (...args: never) => Module;
function convert(module: Module, types: readonly Layer[], format: MemoryFormat): void {
  for (const each of module.modules())
    if (types.some((type) => each instanceof type)) {
      const weight = tensorOf(each, "weight");
      scope(() => {
        weight.setData(weight.detach().clone({ memoryFormat: format }));
      });
    }
}
const read2d = signature("convertConv2dWeightMemoryFormat", ROWS);
/**
 * The weights of all Conv2d and ConvTranspose2d of a module in a memory format; they keep their identity. Arguments:
 * module, memoryFormat.
 */
export function convertConv2dWeightMemoryFormat<M extends Module>(...given: FormatCall<M>): M {
  const { module, memoryFormat } = read2d(given);
  convert(module, [Conv2d, ConvTranspose2d], FORMATS[memoryFormat] as MemoryFormat);
  return module as M;
}
const read3d = signature("convertConv3dWeightMemoryFormat", ROWS);
/** The same of Conv3d and ConvTranspose3d. */
export function convertConv3dWeightMemoryFormat<M extends Module>(...given: FormatCall<M>): M {
  const { module, memoryFormat } = read3d(given);
  convert(module, [Conv3d, ConvTranspose3d], FORMATS[memoryFormat] as MemoryFormat);
  return module as M;
}
