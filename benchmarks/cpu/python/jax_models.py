"""The models of torch_models.py as functions of a dictionary of arrays with the same names.

Each is `model(spec, parameters, statistics, x, dtype) -> (outputs, statistics)`; the statistics are those of batch norms. Products are computed in `dtype`; sums of the residual stream, norms and losses in float32. Images have their channels last, kernels of convolutions are [height, width, in, out], matrices [in, out]: `convert` arranges what PyTorch drew.
"""

import jax
import numpy
from jax import lax
from jax import numpy as jnp


def convert(spec, parameters, x):
    """PyTorch's arrays in JAX's order of axes."""
    out = {}
    for name, p in parameters.items():
        if p.ndim == 4:
            p = p.transpose(2, 3, 1, 0)
        elif p.ndim == 2 and "embedding" not in name and name != "position":
            if spec["model"] == "cnn":  # its inputs are flattened with the channels last
                p = p.reshape(-1, 32, 7, 7).transpose(0, 2, 3, 1).reshape(p.shape)
            p = p.T
        out[name] = numpy.ascontiguousarray(p)
    return out, x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def linear(p, name, x, dtype):
    return x.astype(dtype) @ p[f"{name}.weight"].astype(dtype) + p[f"{name}.bias"].astype(dtype)


def conv(p, name, x, dtype, stride=1, padding=0):
    y = lax.conv_general_dilated(
        x.astype(dtype), p[f"{name}.weight"].astype(dtype), (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + p[f"{name}.bias"].astype(dtype) if f"{name}.bias" in p else y


def layer_norm(p, name, x):
    x = x.astype(jnp.float32)
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def batch_norm(p, s, name, x, updated):
    x = x.astype(jnp.float32)
    mean = x.mean((0, 1, 2))
    variance = jnp.square(x - mean).mean((0, 1, 2))
    count = x.size // x.shape[-1]
    updated[f"{name}.running_mean"] = 0.9 * s[f"{name}.running_mean"] + 0.1 * mean
    updated[f"{name}.running_var"] = 0.9 * s[f"{name}.running_var"] + 0.1 * variance * (count / (count - 1))
    return (x - mean) * lax.rsqrt(variance + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def attention_block(p, name, x, heads, causal, dtype):
    b, t, d = x.shape
    q, k, v = (part.reshape(b, t, heads, d // heads) for part in jnp.split(linear(p, f"{name}.qkv", layer_norm(p, f"{name}.n1", x), dtype), 3, -1))
    mixed = jax.nn.dot_product_attention(q, k, v, is_causal=causal).reshape(b, t, d)
    y = x + linear(p, f"{name}.o", mixed, dtype)
    hidden = jax.nn.gelu(linear(p, f"{name}.f1", layer_norm(p, f"{name}.n2", y), dtype), approximate=False)
    return y + linear(p, f"{name}.f2", hidden, dtype)


def mlp(spec, p, s, x, dtype):
    for i in range(len(spec["sizes"]) - 1):
        x = linear(p, str(2 * i), jax.nn.relu(x) if i > 0 else x, dtype)
    return x, s


def cnn(spec, p, s, x, dtype):
    new = {}
    for i in ("1", "2"):
        x = max_pool(jax.nn.relu(batch_norm(p, s, f"bn{i}", conv(p, f"conv{i}", x, dtype, padding=1), new)))
    return linear(p, "head", x.reshape(x.shape[0], -1), dtype), new


def resnet18(spec, p, s, x, dtype):
    new = {}

    def conv_norm(conv_name, norm_name, x, stride=1, padding=1):
        return batch_norm(p, s, norm_name, conv(p, conv_name, x, dtype, stride, padding), new)

    x = jax.nn.relu(conv_norm("conv", "bn", x))
    for i in range(8):
        name, stride = f"blocks.{i}", 2 if i in (2, 4, 6) else 1
        y = jax.nn.relu(conv_norm(f"{name}.conv1", f"{name}.bn1", x, stride))
        y = conv_norm(f"{name}.conv2", f"{name}.bn2", y)
        shortcut = conv_norm(f"{name}.down", f"{name}.bn3", x, stride, 0) if f"{name}.down.weight" in p else x
        x = jax.nn.relu(y + shortcut)
    return linear(p, "head", x.mean((1, 2)), dtype), new


def lstm(spec, p, s, x, dtype):
    y = x.swapaxes(0, 1)  # time first: a scan goes over the first axis
    for layer in range(spec["layers"]):
        from_input = y.astype(dtype) @ p[f"lstm.weight_ih_l{layer}"].astype(dtype) + p[f"lstm.bias_ih_l{layer}"] + p[f"lstm.bias_hh_l{layer}"]
        recurrent = p[f"lstm.weight_hh_l{layer}"].astype(dtype)

        def cell(carry, at, recurrent=recurrent):
            h, c = carry
            i, f, g, o = jnp.split(at + h.astype(dtype) @ recurrent, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((x.shape[0], spec["hidden"]), jnp.float32)
        _, y = lax.scan(cell, (zeros, zeros), from_input)
    return linear(p, "head", y[-1], dtype), s


def transformer(spec, p, s, x, dtype):
    y = p["embedding.weight"][x] + p["position"]
    for i in range(spec["layers"]):
        y = attention_block(p, f"blocks.{i}", y, spec["heads"], True, dtype)
    return linear(p, "head", layer_norm(p, "norm", y), dtype).reshape(-1, spec["vocabulary"]), s


def vit(spec, p, s, x, dtype):
    y = conv(p, "patches", x, dtype, stride=4)
    y = y.reshape(y.shape[0], -1, y.shape[-1]) + p["position"]
    for i in range(spec["layers"]):
        y = attention_block(p, f"blocks.{i}", y, spec["heads"], False, dtype)
    return linear(p, "head", layer_norm(p, "norm", y).mean(1), dtype), s


FORWARD = {f.__name__: f for f in (mlp, cnn, resnet18, lstm, transformer, vit)}


def objective_of(spec, dtype):
    """`(parameters, statistics, x, y) -> (loss, statistics)`."""

    def objective(p, s, x, y):
        out, s = FORWARD[spec["model"]](spec, p, s, x, dtype)
        out = out.astype(jnp.float32)
        if spec.get("loss") == "mse":
            return jnp.square(out - y).mean(), s
        return -jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], -1).mean(), s

    return objective
