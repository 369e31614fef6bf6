/** Which dimension of a layer's weight is that of its outputs. */
import { ConvTranspose1d, ConvTranspose2d, ConvTranspose3d } from "../conv-transpose.js";
import type { Module } from "../module.js";

export function outputDim(module: Module): 0 | 1 {
  return [ConvTranspose1d, ConvTranspose2d, ConvTranspose3d].some((type) => module instanceof type) ? 1 : 0;
}
