"""Training steps by JAX: the whole step is one compiled function, whose arguments are given up to it. Threads are set by XLA's flags, from outside."""

from functools import partial

import jax
import numpy
from jax import numpy as jnp
from jax_models import convert, objective_of
from side import Meter


def initial_state(spec, parameters):
    def zeros():
        return jax.tree.map(jnp.zeros_like, parameters)

    return {"velocity": zeros()} if spec["name"] == "SGD" else {"step": jnp.zeros(()), "mean": zeros(), "square": zeros()}


def update(spec, p, g, state):
    """PyTorch's rules, with its defaults."""
    lr = spec["lr"]
    if spec["name"] == "SGD":
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, state["velocity"], g)
        return jax.tree.map(lambda p, v: p - lr * v, p, velocity), {"velocity": velocity}
    b1, b2, eps = 0.9, 0.999, 1e-8
    keep = 1 - lr * 0.01 if spec["name"] == "AdamW" else 1
    t = state["step"] + 1
    # 1 - b ** t without its cancellation: float32 would leave four digits of 1 - 0.999.
    c1, c2 = -jnp.expm1(t * numpy.log(b1)), jnp.sqrt(-jnp.expm1(t * numpy.log(b2)))
    mean = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state["mean"], g)
    square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state["square"], g)
    p = jax.tree.map(lambda p, m, v: keep * p - lr / c1 * m / (jnp.sqrt(v) / c2 + eps), p, mean, square)
    return p, {"step": t, "mean": mean, "square": square}


def step(job):
    spec, meter = job["model"], Meter(job)
    drawn = numpy.load(job["weights"])
    ours = {name: drawn[name] for name in drawn.files}
    p, x = convert(spec, {name[2:]: a for name, a in ours.items() if name.startswith("p.")}, ours["x"])
    p = {name: jnp.array(a) for name, a in p.items()}
    s = {name[2:]: jnp.array(a) for name, a in ours.items() if name.startswith("s.")}
    y = jnp.array(ours["y"].astype("int32") if ours["y"].dtype == "int64" else ours["y"])
    x = jnp.array(x.astype("int32") if x.dtype == "int64" else x)
    objective = objective_of(spec, jnp.bfloat16 if job["precision"] == "bf16" else jnp.float32)

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def train(p, s, state, x, y):
        (loss, s), g = jax.value_and_grad(objective, has_aux=True)(p, s, x, y)
        p, state = update(job["optimizer"], p, g, state)
        return p, s, state, loss

    state, losses = initial_state(job["optimizer"], p), []
    for _ in range(meter.total):
        p, s, state, loss = train(p, s, state, x, y)
        if meter.done < meter.checked:
            losses.append(loss)
        meter.tick(lambda p=p, loss=loss: jax.block_until_ready((p, loss)))
    return meter.result([float(loss) for loss in losses])
