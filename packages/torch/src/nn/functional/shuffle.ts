/** Elements between channels and places, and between groups of channels. */
import * as ops from "../../ops/index.js";
import { signature, type Call } from "../../signature.js";
import type { Tensor } from "../../tensor/tensor.js";
import { positive } from "../kernels.js";
import { input, type InputArguments } from "./rows.js";

const readShuffle = signature("pixelShuffle", { input, upscaleFactor: positive });
const readUnshuffle = signature("pixelUnshuffle", { input, downscaleFactor: positive });
const readChannels = signature("channelShuffle", { input, groups: positive });
const readNativeChannels = signature("nativeChannelShuffle", { input, groups: positive });
type GroupsCall = Call<
  InputArguments & { readonly groups: number },
  ["input", "groups"],
  [input: Tensor, groups: number]
>;

/** `[…, C · r², H, W]` → `[…, C, H · r, W · r]`. Shi et al., 2016. */
export function pixelShuffle(
  ...given: Call<
    InputArguments & { readonly upscaleFactor: number },
    ["input", "upscaleFactor"],
    [input: Tensor, upscaleFactor: number]
  >
): Tensor {
  const { input, upscaleFactor } = readShuffle(given);
  return ops.pixelShuffle(input, upscaleFactor);
}
/** `[…, C, H · r, W · r]` → `[…, C · r², H, W]`. */
export function pixelUnshuffle(
  ...given: Call<
    InputArguments & { readonly downscaleFactor: number },
    ["input", "downscaleFactor"],
    [input: Tensor, downscaleFactor: number]
  >
): Tensor {
  const { input, downscaleFactor } = readUnshuffle(given);
  return ops.pixelUnshuffle(input, downscaleFactor);
}
/** Channels of `[N, C, …]` in another order: the first of each group, the second of each, …. Zhang et al., 2017. */
export function channelShuffle(...given: GroupsCall): Tensor {
  const { input, groups } = readChannels(given);
  return ops.channelShuffle(input, groups);
}
/** {@link channelShuffle} by libtorch's own kernel where there is one. */
export function nativeChannelShuffle(...given: GroupsCall): Tensor {
  const { input, groups } = readNativeChannels(given);
  return ops.nativeChannelShuffle(input, groups);
}
