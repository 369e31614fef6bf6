/**
 * Rows that give something else on a GPU than PyTorch on a CPU, and why. Of each it was seen that PyTorch gives the same
 * on that GPU, or throws as well (NBIT_PARITY_GPU in on-gpu.ts).
 */
import type { Mode } from "./table.js";

interface Exception {
  readonly area: string;
  /** All of the name, or how it begins, with `…`. */
  readonly name: string;
  /** Default: all. */
  readonly modes?: readonly Mode[];
  readonly why: string;
}
const NARROW: readonly Mode[] = ["bfloat16", "autocast"];
const ROUNDED =
  "roundings to 8 bits fall otherwise, and what divides by small numbers, or asks for signs, makes more of them";
const of = (area: string, modes: readonly Mode[], why: string, ...names: readonly string[]): readonly Exception[] =>
  names.map((name) => ({ area, name, modes, why }));

export const EXCEPTIONS: readonly Exception[] = [
  ...of("attention", NARROW, ROUNDED, "transformer", "transformer, masks", "transformer, causal"),
  ...of("recurrent", NARROW, ROUNDED, "RNN, relu, …", "LSTM, projected, num_layers 3, bias False, bidirectional True"),
  ...of("optimizers", ["bfloat16"], ROUNDED, "ASGD, every option", "RMSprop…", "Rprop…", "AdamW that maximizes"),
  ...of("optimizers", ["float64"], "its rates are rounded to float32 there: by 1e-8 of themselves", "ASGD…"),
  ...of("optimizers", ["float64"], "it orthogonalizes in bfloat16", "Muon…"),
  ...of("functional", ["float64"], "the kernel's 1/6 is a float32", "F.hardswish…", "F.hardsigmoid…"),
  ...of("layers", ["float64"], "the kernel's 1/6 is a float32", "Hardswish", "Hardsigmoid"),
  {
    area: "layers",
    name: "EmbeddingBag, max norm by position",
    why: "rows that are looked up twice are scaled down by another kernel",
  },
  { area: "losses", name: "CTCLoss…", why: "its gradient there is another for some batches" },
  ...of("functional", ["float64"], "it draws where to pool", "F.fractional_max_pool2d, ratio, indices"),
  ...of(
    "toplevel",
    ["float64"],
    "it draws, and signs of singular vectors follow",
    "svd_lowrank of a wide matrix, less a mean",
  ),
  { area: "functional", name: "F.interpolate, lanczos", why: "libtorch has it since 2.12" },
  ...of(
    "losses",
    ["autocast"],
    "autocast on CUDA refuses it",
    "BCELoss, none, weight",
    "BCELoss, mean, weight",
    "BCELoss, sum, weight",
    "binaryCrossEntropy, gradient of the target",
  ),
  { area: "operators", name: "narrow_copy", why: "it has no gradient on a GPU" },
  { area: "operators", name: "Tensor.narrow_copy", why: "it has no gradient on a GPU" },
  { area: "operators", name: "histogramdd", why: "it has no kernel on a GPU" },
  ...["RNN", "GRU", "LSTM"].map((layer) => ({
    area: "recurrent",
    name: `${layer}, dropout while not training`,
    why: "cuDNN goes back in training mode alone",
  })),
  {
    area: "recurrent",
    name: "pack_padded_sequence, lengths as a tensor, longer than needed",
    why: "lengths are to be on the CPU",
  },
];

export function exceptionOf(area: string, name: string, mode: Mode): string | null {
  const found = EXCEPTIONS.find(
    (e) =>
      e.area === area &&
      (e.name.endsWith("…") ? name.startsWith(e.name.slice(0, -1)) : name === e.name) &&
      (e.modes?.includes(mode) ?? true),
  );
  return found?.why ?? null;
}
