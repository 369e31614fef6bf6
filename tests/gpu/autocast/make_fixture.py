"""Asks PyTorch on a CUDA device for the dtypes that autocast gives, for its whole table of operators, and writes them with the calls: python make_fixture.py > fixture.json

The table is the dispatcher's own; an operator of it without a sample below is named on stderr, and fails the test. Every call is made with float32 inputs, with inputs of 16 bits, and with
the first of 16 bits and the others float32 (promotion), in regions of float16 and of bfloat16. `error` means that PyTorch refuses the call.
"""
import json
import sys

import torch

aten = torch.ops.aten
X = "x"  # a floating-point tensor of the case's dtype


def f(*shape):
    return {"float": list(shape)}


def i(value, *shape):
    return {"int": list(shape), "value": value}


unary = ["acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sinh", "softplus", "sum", "tan", "prod", "nuclear_norm", "linalg_vector_norm", "linalg_matrix_norm.str_ord", "pdist"]
binary = ["atan2", "cdist", "dist", "mm", "matmul", "linear", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "soft_margin_loss", "hinge_embedding_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_similarity", "linalg_vecdot", "pow.Tensor_Tensor"]
S = {name: [f(4, 4)] for name in unary} | {name: [f(4, 4), f(4, 4)] for name in binary}
conv = lambda n: [f(1, 4, *[4] * n), f(4, 4, *[3] * n), f(4)]
nd = lambda value, n: [value] * n
cell = lambda gates: [f(2, 4), f(2, 4), f(4 * gates, 4), f(4 * gates, 4), f(4 * gates), f(4 * gates)]
S |= {
    "conv1d": conv(1), "conv2d": conv(2), "conv3d": conv(3), "conv_tbc": [f(4, 2, 4), f(3, 4, 4), f(4)],
    "conv_transpose1d": conv(1), "conv_transpose2d.input": conv(2), "conv_transpose3d.input": conv(3),
    "convolution": [*conv(2), nd(1, 2), nd(0, 2), nd(1, 2), False, nd(0, 2), 1],
    "_convolution": [*conv(2), nd(1, 2), nd(0, 2), nd(1, 2), False, nd(0, 2), 1, False, False, True, True],
    "_convolution.deprecated": [*conv(2), nd(1, 2), nd(0, 2), nd(1, 2), False, nd(0, 2), 1, False, False, True],
    "cudnn_convolution": [f(1, 4, 4, 4), f(4, 4, 3, 3), nd(0, 2), nd(1, 2), nd(1, 2), 1, False, False, True],
    "cudnn_convolution_transpose": [f(1, 4, 4, 4), f(4, 4, 3, 3), nd(0, 2), nd(0, 2), nd(1, 2), nd(1, 2), 1, False, False, True],
    "_scaled_dot_product_flash_attention": [f(1, 2, 16, 16), f(1, 2, 16, 16), f(1, 2, 16, 16)],
    "scaled_dot_product_attention": [f(1, 2, 16, 16), f(1, 2, 16, 16), f(1, 2, 16, 16)],
    "_thnn_fused_gru_cell": [f(2, 12), f(2, 12), f(2, 4), f(12), f(12)], "_thnn_fused_lstm_cell": [f(2, 16), f(2, 16), f(2, 4), f(16), f(16)],
    "gru_cell": cell(3), "rnn_relu_cell": cell(1), "rnn_tanh_cell": cell(1), "lstm_cell": [f(2, 4), [f(2, 4), f(2, 4)], f(16, 4), f(16, 4), f(16), f(16)],
    "addbmm": [f(4, 4), f(2, 4, 4), f(2, 4, 4)], "baddbmm": [f(2, 4, 4), f(2, 4, 4), f(2, 4, 4)], "addmm": [f(4, 4), f(4, 4), f(4, 4)], "addmv": [f(4), f(4, 4), f(4)], "addr": [f(4, 4), f(4), f(4)],
    "bmm": [f(2, 4, 4), f(2, 4, 4)], "mv": [f(4, 4), f(4)], "dot": [f(4), f(4)], "vdot": [f(4), f(4)], "chain_matmul": [[f(4, 4), f(4, 4)]], "linalg_multi_dot": [[f(4, 4), f(4, 4)]], "einsum": ["ij,jk->ik", [f(4, 4), f(4, 4)]],
    "tensordot": [f(4, 4), f(4, 4), [1], [0]], "prelu": [f(4, 4), f(1)], "bilinear": [f(2, 4), f(2, 4), f(3, 4, 4), f(3)],
    "addcdiv": [f(4, 4), f(4, 4), f(4, 4)], "addcmul": [f(4, 4), f(4, 4), f(4, 4)], "cross": [f(4, 3), f(4, 3)], "renorm": [f(4, 4), 2, 0, 1],
    "cumprod": [f(4, 4), 0], "cumsum": [f(4, 4), 0], "frobenius_norm.dim": [f(4, 4), [0, 1]], "nuclear_norm.dim": [f(4, 4), [0, 1]], "norm.Scalar": [f(4, 4), 2], "norm.ScalarOpt_dim": [f(4, 4), 2, [0]],
    "linalg_matrix_norm": [f(4, 4), 1], "logsumexp": [f(4, 4), [0]], "log_softmax.int": [f(4, 4), 1], "softmax.int": [f(4, 4), 1], "prod.dim_int": [f(4, 4), 0], "sum.dim_IntList": [f(4, 4), [0]],
    "pow.Scalar": [2, f(4, 4)], "pow.Tensor_Scalar": [f(4, 4), 2], "grid_sampler": [f(1, 2, 4, 4), f(1, 4, 4, 2), 0, 0, False], "group_norm": [f(2, 4, 4), 2, f(4), f(4)],
    "layer_norm": [f(4, 4), [4], f(4), f(4)], "native_layer_norm": [f(4, 4), [4], f(4), f(4), 1e-5], "rms_norm": [f(4, 4), [4], f(4)],
    "cosine_embedding_loss": [f(4, 4), f(4, 4), f(4)], "margin_ranking_loss": [f(4), f(4), f(4)], "triplet_margin_loss": [f(4, 4), f(4, 4), f(4, 4)], "multi_margin_loss": [f(4, 4), i(1, 4)], "multilabel_margin_loss": [f(4, 4), i(1, 4, 4)],
    "nll_loss": [f(4, 4), i(1, 4)], "nll_loss2d": [f(1, 4, 2, 2), i(1, 1, 2, 2)], "poisson_nll_loss": [f(4, 4), f(4, 4), True, False, 1e-8, 1],
    "_cudnn_rnn": [f(3, 2, 4), [f(16, 4), f(16, 4), f(16), f(16)], 4, None, f(1, 2, 4), f(1, 2, 4), 2, 4, 0, 1, False, 0.0, True, False, [], None],
    "index_put": [f(4, 4), [i(1, 2)], f(2, 4)], "scatter_add": [f(4, 4), 0, i(1, 4, 4), f(4, 4)],
}  # fmt: skip
for name, n in [("upsample_nearest1d", 1), ("_upsample_nearest_exact1d", 1), ("upsample_nearest2d", 2), ("_upsample_nearest_exact2d", 2), ("upsample_nearest3d", 3), ("_upsample_nearest_exact3d", 3)]:
    S[name] = [f(1, 2, *[4] * n), [8] * n]
for name, n in [("upsample_linear1d", 1), ("upsample_bilinear2d", 2), ("_upsample_bilinear2d_aa", 2), ("upsample_bicubic2d", 2), ("_upsample_bicubic2d_aa", 2), ("upsample_trilinear3d", 3)]:
    S[name] = [f(1, 2, *[4] * n), [8] * n, False]


def build(args, dtype_of, device):
    position = 0

    def value(a):
        nonlocal position
        if isinstance(a, list):
            return [value(e) for e in a]
        if not isinstance(a, dict):
            return a
        if "int" in a:
            return torch.full(a["int"], a["value"], dtype=torch.int64, device=device)
        position += 1
        return torch.full(a["float"], 0.5, dtype=dtype_of(position - 1), device=device)

    return [value(a) for a in args]


def dtypes(result):
    return [str(t.dtype).removeprefix("torch.") for t in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(t, torch.Tensor)]


def main(device):
    table = sorted(r.removeprefix("aten::") for r in torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA") if r.startswith("aten::") and "imname" not in r and "names_" not in r)  # named dimensions: the same rules
    missing = [name for name in table if name not in S]
    if missing:
        print(f"no sample for {', '.join(missing)}", file=sys.stderr)
    calls = []
    for name in table:
        if name in missing:
            continue
        op, _, overload = name.partition(".")
        call = getattr(getattr(aten, op), overload or "default")
        results = {}
        for low in (torch.float16, torch.bfloat16):
            for case, dtype_of in (("full", lambda k: torch.float32), ("low", lambda k: low), ("mixed", lambda k: low if k == 0 else torch.float32)):
                try:
                    with torch.autocast(device, dtype=low, cache_enabled=False):
                        results[f"{str(low).removeprefix('torch.')} {case}"] = dtypes(call(*build(S[name], dtype_of, device)))
                except (RuntimeError, NotImplementedError):
                    results[f"{str(low).removeprefix('torch.')} {case}"] = "error"
        calls.append({"op": op, "overload": overload or "default", "args": S[name], "results": results})
    rows = ",\n".join(json.dumps(c, separators=(",", ":")) for c in calls)
    print(f'{{"torch":"{torch.__version__}","calls":[\n{rows}\n]}}')


main("cuda")
