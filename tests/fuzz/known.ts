/**
 * Calls that libtorch by itself answers by ending the process, or never: each is a value or an error with a code here.
 * What is found anew gets a line, and its guard (packages/native/manifest/guards.json).
 */
import {
  aten,
  combinations,
  crossEntropyLoss,
  cuda,
  full,
  linalg,
  lstm,
  gru,
  nativeGroupNorm,
  ones,
  rnnRelu,
  rnnTanh,
  special,
  stack,
  tensor,
  zeros,
  lcm,
  maxPool1d,
  luUnpack,
  matrixPower,
  binomial,
  replicationPad2d,
  upsampleNearest3d,
  copy,
  kron,
  type Tensor,
} from "@nbit/torch";

/** Operators that the fuzz may not call. None: a guard is better than a pardon. */
export const KNOWN: readonly { readonly operator: string; readonly why: string }[] = [];

const LEAST = -(1n << 63n);
const MOST = (1n << 63n) - 1n;
const x = (): Tensor => ones([1, 2, 3]);
const image = (): Tensor => ones([1, 3, 4, 4]);
/** Zero everywhere, without memory, as gradients can be. */
const nothing = (...shape: number[]): Tensor => aten["_efficientzerotensor"]?.(shape) as Tensor;
const raw = (name: string, ...args: readonly unknown[]): unknown => aten[name]?.(...args);
const least = (dtype: "int32" | "int64"): Tensor =>
  dtype === "int64" ? full([9], LEAST, { dtype }) : full([9], -(2 ** 31), { dtype });

export const CALLS: Readonly<Record<string, () => unknown>> = {
  "least int32 by -1": () => least("int32").div(-1, { roundingMode: "trunc" }),
  "least int64 by -1": () => least("int64").div(full([9], -1, { dtype: "int64" }), { roundingMode: "trunc" }),
  "least int64 by -1, in place": () => least("int64").divide_(-1, { roundingMode: "trunc" }),
  "lcm of the least integer": () => lcm(least("int64"), full([9], -7, { dtype: "int64" })),
  "floorDivide by zero": () => least("int32").floorDivide(0),
  "remainder by zero": () => least("int32").remainder(0),
  "fmod by zero": () => least("int32").fmod(0),
  "power of -1": () => zeros([3], { dtype: "int64" }).pow(-1),
  "stack of nothing": () => stack([]),
  "kron with a tensor without memory": () => kron(nothing(2), tensor([1, 2])),
  "gelu_backward with a tensor without memory": () => raw("gelu_backward", tensor([1, 2]), nothing(2)),
  "embedding_dense_backward with a tensor without memory": () =>
    raw("embedding_dense_backward", nothing(2, 3), tensor([0n, 1n]), 4, -1, false),
  "embedding_dense_backward in another layout": () =>
    raw("embedding_dense_backward", ones([2, 3]).toSparse(), tensor([0n, 1n]), 4, -1, false),
  "resize_ without memory": () => nothing(2).resize_([100]),
  "csr from bsr": () =>
    ones([2, 2])
      .toSparseCsr()
      .copy_(ones([2, 2]).toSparseBsr([1, 1])),
  "bsr from csr": () =>
    ones([2, 2])
      .toSparseBsr([1, 1])
      .copy_(ones([2, 2]).toSparseCsr()),
  "copy to csc": () => copy(ones([2, 2]).toSparseCsc(), ones([2, 2])),
  "copy from csc": () => copy(ones([2, 2]), ones([2, 2]).toSparseCsc()),
  "copy from mkldnn": () => copy(ones([2, 3]), ones([2, 3]).toMkldnn()),
  "batch norm without statistics, outside of training": () =>
    raw("native_batch_norm", ones([1, 1]), null, null, null, null, false, 0, 0),
  "a result in rows of blocks, of an operator that writes none": () =>
    raw("new_zeros", ones([3, 2]), [4, 1, 3, 3], { out: ones([4, 1, 3, 3]).toSparseBsr([1, 1]) }),
  "a result of mkldnn": () => raw("zeros", [2, 3], { out: ones([2, 3]).toMkldnn() }),
  "convolution in windows of no sizes": () => raw("slow_conv3d", ones([]), ones([]), []),
  "channels shuffled in no groups, without memory": () =>
    raw("native_channel_shuffle", ones([1, 1], { device: "meta" }), 0),
  "combinations of more than there are dimensions": () => combinations(zeros([0]), 65536),
  "random integers from the greatest": () => ones([3]).random_(MOST, null),
  "random integers to the least but one": () => ones([3]).random_(LEAST, LEAST + 1n),
  "a view in strides that overflow": () => zeros([], { dtype: "uint8" }).asStrided_([4], [(1n << 62n) + 1n]),
  "scatter of an opaque tensor": () => ones([]).scatterAdd_(0, zeros([0], { dtype: "int64" }), ones([1]).toMkldnn()),
  "lstm of no layers": () =>
    lstm(ones([]), ones([]), [ones([3, 3, 3]), ones([1, 0, 1])], [ones([]), ones([3, 3])], false, 0, -1, true, true),
  "setAt of an endless list": () => ones([]).setAt(new Array<number>(2 ** 32 - 1), ones([2, 3])),
  "attention of no heads": () =>
    raw(
      "_native_multi_head_attention",
      ones([1, 2, 4]),
      ones([1, 2, 4]),
      ones([1, 2, 4]),
      4,
      0,
      ones([12, 4]),
      ones([12]),
      ones([4, 4]),
      ones([4]),
    ),
  "group norm of no groups": () => nativeGroupNorm(ones([2, 4]), null, null, 2, 4, 1, 0, 1e-5),
  "group norm of more channels than there are": () =>
    nativeGroupNorm(ones([3, 2]), ones([2]), ones([2]), 2147483647, 3, -2147483648, 1, 1e-5),
  "group norm with one weight": () => nativeGroupNorm(ones([2, 4]), ones([1]), null, 2, 4, 1, 2, 1e-5),
  "group norm of mkldnn": () => nativeGroupNorm(image().toMkldnn(), null, null, 1, 3, 16, 3, 1e-5),
  "padding beyond all memory": () => replicationPad2d(x(), [MOST, 0, 0, 0]),
  "padding that overflows": () => replicationPad2d(x(), [MOST, MOST, MOST, MOST]),
  "a window beyond all memory": () => maxPool1d(x(), MOST),
  "a window that overflows": () => maxPool1d(x(), (1n << 62n) + 1n, 1, 1n << 61n),
  "a window of 2^53": () => maxPool1d(ones([2, 3]), 2 ** 53 - 1),
  "reflection_pad1d_backward, no padding": () => raw("reflection_pad1d_backward", x(), x(), []),
  "reflection_pad2d_backward, no padding": () => raw("reflection_pad2d_backward", x(), x(), []),
  "reflection_pad3d_backward, no padding": () => raw("reflection_pad3d_backward", image(), image(), []),
  "replication_pad1d_backward, no padding": () => raw("replication_pad1d_backward", x(), x(), []),
  "fractional_max_pool2d_backward, no sizes": () =>
    raw("fractional_max_pool2d_backward", image(), image(), [2, 2], [], zeros([1, 3, 4, 4], { dtype: "int64" })),
  "fractional_max_pool2d_backward, indices beyond": () =>
    raw(
      "fractional_max_pool2d_backward",
      image(),
      image(),
      [1, 1],
      [4, 4],
      full([1, 3, 4, 4], 1e9, { dtype: "int64" }),
    ),
  "fractional_max_pool3d_backward, no sizes": () =>
    raw("fractional_max_pool3d_backward", image(), image(), [2, 2, 2], [], zeros([1, 3, 4, 4], { dtype: "int64" })),
  "max_pool2d_with_indices_backward, indices beyond": () =>
    raw(
      "max_pool2d_with_indices_backward",
      image(),
      image(),
      [1, 1],
      [1, 1],
      [0, 0],
      [1, 1],
      false,
      full([1, 3, 4, 4], 1e9, { dtype: "int64" }),
    ),
  "batch_norm_backward, shapes that do not fit": () =>
    raw(
      "batch_norm_backward",
      ones([2, 3]),
      ones([2, 3]),
      ones([2]),
      null,
      null,
      ones([1]),
      ones([1]),
      true,
      1e-5,
      [true, true, true],
      tensor([]),
    ),
  "native_batch_norm_backward of nothing": () =>
    raw("native_batch_norm_backward", zeros([2, 0, 3]), zeros([2, 0, 3]), null, null, null, null, null, true, 1e-5, [
      true,
      true,
      true,
    ]),
  "batch_norm_update_stats, statistics that do not fit": () =>
    raw("batch_norm_update_stats", ones([2, 3]), ones([1]), ones([1]), 0.1),
  "native_batch_norm, weights that do not fit": () =>
    raw(
      "native_batch_norm",
      ones([1, 2, 3, 4, 5]),
      ones([3, 3, 3]),
      zeros([2, 0, 3]),
      null,
      null,
      false,
      0.1,
      Infinity,
    ),
  "_convert_indices_from_csr_to_coo of numbers": () =>
    raw("_convert_indices_from_csr_to_coo", ones([3, 3, 3], { dtype: "int32" }), ones([3, 3, 3]), {
      outInt32: true,
      transpose: true,
    }),
  "_foreach_copy of nothing": () => raw("_foreach_copy", [], [ones([3])]),
  "_fused_sgd_, lists of other lengths": () =>
    raw("_fused_sgd_", [ones([3]), ones([4])], [ones([3])], [], 0, 0, 0.1, 0, false, false, true),
  "_fused_adamw_, gradients of other sizes": () =>
    raw(
      "_fused_adamw_",
      [ones([3000])],
      [ones([1])],
      [ones([3000])],
      [ones([3000])],
      [],
      [ones([])],
      0.1,
      0.9,
      0.99,
      0,
      1e-8,
      false,
      false,
    ),
  "_fused_adam_, an expanded gradient": () =>
    raw(
      "_fused_adam_",
      [ones([3000])],
      [ones([1]).expand([3000])],
      [ones([3000])],
      [ones([3000])],
      [],
      [ones([])],
      0.1,
      0.9,
      0.99,
      0,
      1e-8,
      false,
      false,
    ),
  "_log_softmax_backward_data of another shape": () =>
    raw("_log_softmax_backward_data", zeros([2, 0, 3]), ones([3, 2]), 1, "complex64"),
  "slow_conv_transpose3d, windows that are not the weight's": () =>
    raw("slow_conv_transpose3d", ones([1, 3, 8, 8]), ones([1, 2, 3, 4, 5]), [2, 7, 4]),
  "index_copy_ into mkldnn": () =>
    image()
      .toMkldnn()
      .indexCopy_(1, tensor([0n, 1n, 2n]), image().toMkldnn()),
  "_stack of nothing": () => raw("_stack", []),
  "_weight_norm of nothing": () => raw("_weight_norm", zeros([0]), ones([3, 3, 3])),
  "_reshape_alias without strides": () => raw("_reshape_alias", zeros([2, 0, 3]), [], []),
  "lstm without weights": () =>
    lstm(ones([2, 3, 4]), [zeros([1, 3, 4]), zeros([1, 3, 4])], [], true, 1, 0, true, false, false),
  "gru without weights": () => gru(ones([2, 3, 4]), zeros([1, 3, 4]), [], true, 1, 0, true, false, false),
  "rnnTanh without weights": () => rnnTanh(ones([2, 3, 4]), zeros([1, 3, 4]), [], true, 1, 0, true, false, false),
  "rnnRelu without weights": () => rnnRelu(ones([2, 3, 4]), zeros([1, 3, 4]), [], true, 1, 0, true, false, false),
  "a range of integers in steps of a half": () => raw("range", 0, 1, 0.5, { out: zeros([0], { dtype: "int64" }) }),
  "a matrix to the power of -2^63": () => matrixPower(ones([2, 2]), LEAST),
  "eigenvalues of NaN": () =>
    linalg.eigvals(
      tensor([
        [NaN, 1],
        [1, 2],
      ]),
    ),
  "eigenvectors of NaN": () =>
    linalg.eig(
      tensor([
        [NaN, 1],
        [1, 2],
      ]),
    ),
  "lu_unpack, one pivot": () => luUnpack(ones([3, 3]), tensor([1], { dtype: "int32" })),
  "lu_unpack, pivots beyond": () => luUnpack(ones([3, 3]), tensor([1, 2, 1e9], { dtype: "int32" })),
  "rrelu_with_noise, noise of another shape": () => raw("rrelu_with_noise", ones([4, 4]), ones([1]), 0.1, 0.3, true),
  "rrelu_with_noise, a result of another shape": () =>
    raw("rrelu_with_noise", ones([4, 4]), ones([4, 4]), 0.1, 0.3, true, { out: ones([1]) }),
  "binomial of NaN": () => binomial(tensor([NaN]), tensor([0.5])),
  "a sum of NaN probability": () => binomial(tensor([10]), tensor([NaN])),
  "upsampling by -Infinity": () => upsampleNearest3d(ones([1, 2, 3, 4, 5]), [5, 5, 5], -Infinity, 1, 1),
  choose_qparams_optimized: () => raw("choose_qparams_optimized", ones([3, 2]), 4, 4, 1e30, 65536),
  fused_moving_avg_obs_fake_quant: () =>
    raw(
      "fused_moving_avg_obs_fake_quant",
      ones([3]),
      tensor([1n]),
      tensor([1n]),
      tensor([]),
      tensor([]),
      tensor([]),
      tensor([]),
      0.1,
      0,
      255,
      0,
    ),
  "quantized tensors": () => raw("quantize_per_tensor", ones([2]), 0.1, 0, "quint8"),
  "cross entropy of no classes": () => crossEntropyLoss(zeros([2, 0]), tensor([0n, 0n])),
  "a stream on a machine without a GPU": () => (cuda.isAvailable() ? null : Reflect.construct(cuda.Stream, [])),
  ...Object.fromEntries(
    (
      [
        "laguerrePolynomialL",
        "legendrePolynomialP",
        "hermitePolynomialH",
        "hermitePolynomialHe",
        "chebyshevPolynomialT",
        "chebyshevPolynomialU",
        "chebyshevPolynomialV",
        "chebyshevPolynomialW",
        "shiftedChebyshevPolynomialT",
        "shiftedChebyshevPolynomialU",
        "shiftedChebyshevPolynomialV",
        "shiftedChebyshevPolynomialW",
      ] as const
    ).flatMap((name) => [
      [`${name} of degree 2^40`, () => special[name](tensor([0.5, 2]), 2 ** 40)],
      [`${name} of degrees up to 2^62`, () => special[name](tensor([0.5, 2]), tensor([1n, 1n << 62n]))],
    ]),
  ),
};
