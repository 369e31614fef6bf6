"""One measurement of JAX: python jax_side.py <model> <precision> <weights.npz> <steps>. One line of JSON, as baseline.py's.

The whole step is one compiled function whose state is given up to it. The models are those of baseline.py, from the weights and the batch that
`baseline.py … weights` has drawn; autocast's rules are written out: parameters, norms, the residual stream and the loss in float32, products in bfloat16.
"""
import json
import math
import os
import sys
import time

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else its peak is what it took at the start

import jax
import numpy
from jax import numpy as jnp

model, precision, weights, steps = sys.argv[1:5]
steps = int(steps)
dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
jax.config.update("jax_default_matmul_precision", "highest" if precision == "32" else None)  # float32 without TF32
HEADS = {"tiny": 2, "gpt2": 12, "gpt2-350m": 16, "vit": 12}[model]
LAYERS = {"tiny": 2, "gpt2": 12, "gpt2-350m": 24, "vit": 12}[model]
PATCH = 16
# cuDNN's fused attention takes 16 bits alone.
ATTENTION = ["cudnn", "xla"] if precision == "bf16" else ["xla"]


def norm(p, name, x):
    mean = x.mean(-1, keepdims=True)
    centred = x - mean
    variance = (centred * centred).mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def linear(p, name, x):
    return x.astype(dtype) @ p[f"{name}.weight"].T.astype(dtype) + p[f"{name}.bias"].astype(dtype)


def block(p, i, x, causal, attention):
    b, t, d = x.shape
    name = f"blocks.{i}"
    q, k, v = (each.reshape(b, t, HEADS, d // HEADS) for each in jnp.split(linear(p, f"{name}.attn", norm(p, f"{name}.ln1", x)), 3, -1))
    y = jax.nn.dot_product_attention(q, k, v, is_causal=causal, implementation=attention).reshape(b, t, d)
    x = x + linear(p, f"{name}.proj", y)
    h = jax.nn.gelu(linear(p, f"{name}.fc", norm(p, f"{name}.ln2", x)), approximate=False)
    return x + linear(p, f"{name}.out", h)


def cross_entropy(logits, targets):
    logits = logits.astype(jnp.float32)
    chosen = jnp.take_along_axis(logits, targets[:, None], -1)[:, 0]
    return (jax.nn.logsumexp(logits, -1) - chosen).mean()


def gpt(p, tokens, targets, attention):
    x = p["wte.weight"][tokens] + p["wpe.weight"][: tokens.shape[1]]
    for i in range(LAYERS):
        x = block(p, i, x, True, attention)
    logits = norm(p, "lnf", x).astype(dtype) @ p["wte.weight"].T.astype(dtype)
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def vit(p, images, targets, attention):
    b, c, h, w = images.shape
    n = h // PATCH
    patches = images.reshape(b, c, n, PATCH, n, PATCH).transpose(0, 2, 4, 1, 3, 5).reshape(b, n * n, -1)
    kernel = p["patches.weight"].reshape(p["patches.weight"].shape[0], -1)
    x = patches.astype(dtype) @ kernel.T.astype(dtype) + p["patches.bias"].astype(dtype)
    token = jnp.broadcast_to(p["token"], (b, 1, x.shape[-1]))
    x = jnp.concatenate([token, x.astype(jnp.float32)], 1) + p["positions"]
    for i in range(LAYERS):
        x = block(p, i, x, False, attention)
    return cross_entropy(linear(p, "head", norm(p, "lnf", x)[:, 0]), targets)


def adamw(p, g, state):
    """PyTorch's rule: lr 3e-4, betas 0.9 and 0.95, weight decay 0.1."""
    lr, b1, b2, eps, decay = 3e-4, 0.9, 0.95, 1e-8, 0.1
    t = state["step"] + 1
    c1, c2 = 1 - b1**t, jnp.sqrt(1 - b2**t)
    mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state["mean"], g)
    square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state["square"], g)
    p = jax.tree.map(lambda p, m, v: p * (1 - lr * decay) - lr / c1 * m / (jnp.sqrt(v) / c2 + eps), p, mean, square)
    return p, {"step": t, "mean": mean, "square": square}


def step_with(attention):
    forward = vit if model == "vit" else gpt

    def train(p, state, x, y):
        loss, g = jax.value_and_grad(forward)(p, x, y, attention)
        p, state = adamw(p, g, state)
        return p, state, loss

    return jax.jit(train, donate_argnums=(0, 1))


def compiled(args):
    """With the first attention that the device has for these shapes."""
    for attention in ATTENTION:
        try:
            return attention, step_with(attention).lower(*args).compile()
        except Exception as error:  # what cuDNN has no plan for is an error of the compiler's
            if attention == ATTENTION[-1]:
                raise
            print(f"{attention}: {str(error)[:300]}", file=sys.stderr)


drawn = numpy.load(weights)
p = {name[2:]: jnp.asarray(drawn[name]) for name in drawn.files if name.startswith("p.")}
x, y = (jnp.asarray(a.astype("int32") if a.dtype == "int64" else a) for a in (drawn["x"], drawn["y"]))
zeros = lambda: jax.tree.map(jnp.zeros_like, p)
state = {"step": jnp.zeros(()), "mean": zeros(), "square": zeros()}
begins = time.time()
attention, train = compiled((p, state, x, y))
compile_s = time.time() - begins

warm_up = max(12, steps // 5)
chunk = max(1, steps // 5)
total = warm_up + 5 * chunk
losses, times, span, first, start = [], [], [], math.nan, 0.0
for n in range(1, total + 1):
    p, state, loss = train(p, state, x, y)
    if n <= 3 or n == total:
        losses.append(float(loss))
    if n == 1:
        first = time.time() * 1000
    k = n - warm_up
    if k < 0 or k % chunk:
        continue
    jax.block_until_ready((p, loss))
    now = time.perf_counter()
    if k == 0 or n == total:
        span.append(time.time() * 1000)
    if k > 0:
        times.append((now - start) / chunk * 1e3)
    start = now
times.sort()
memory = jax.local_devices()[0].memory_stats() or {}
started = os.environ.get("NBIT_BENCH_STARTED")
mib = 2**20
print(
    json.dumps(
        dict(
            side="jax",
            model=model,
            precision=precision,
            mode="jit",
            ms=times[len(times) // 2],
            min=times[0],
            losses=losses,
            startupMs=first - float(started) if started else None,
            span=span,
            # Of the whole run: its allocator's peak is not set back, and steps are all of it.
            allocatedMiB=memory["peak_bytes_in_use"] / mib if "peak_bytes_in_use" in memory else None,
            reservedMiB=None,
            attention=attention,
            compileS=compile_s,
            jax=jax.__version__,
        )
    ),
    flush=True,
)
