"""JAX's program of the same training step, compiled for a TPU topology that need not be there: `python jax_aot.py < jobs.json` prints one line of JSON per job.

TPU_LIBRARY_PATH names libtpu. Nothing runs on a device, and values are never needed: arrays are zeros of the right shapes.
"""

import json
import os
import sys
import time
from functools import partial

sys.dont_write_bytecode = True  # nothing is left in the checkout
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cpu", "python"))

import jax
import numpy
from jax import numpy as jnp
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax_models import convert, objective_of
from jax_side import initial_state, update

# As nbit's programs: float32 products in float32.
jax.config.update("jax_default_matmul_precision", "highest")


def compile_for(job):
    spec, shapes = job["model"], job["shapes"]
    zeros = {name: numpy.zeros(shape, "float32") for name, shape in shapes.items()}
    x = numpy.zeros(job["x"]["shape"], job["x"]["dtype"].replace("int64", "int32"))
    p, x = convert(spec, {name[2:]: a for name, a in zeros.items() if name.startswith("p.")}, x)
    s = {name[2:]: a for name, a in zeros.items() if name.startswith("s.")}
    y = numpy.zeros(job["y"]["shape"], job["y"]["dtype"].replace("int64", "int32"))
    objective = objective_of(spec, jnp.bfloat16 if job["precision"] == "bf16" else jnp.float32)
    topology = topologies.get_topology_desc(platform="tpu", topology_name=job["topology"], **job["options"])
    mesh = Mesh(numpy.array(topology.devices), ("batch",))
    whole, split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("batch",)))

    @partial(jax.jit, donate_argnums=(0, 1, 2), in_shardings=(whole, whole, whole, split, split), out_shardings=whole)
    def train(p, s, state, x, y):
        (loss, s), g = jax.value_and_grad(objective, has_aux=True)(p, s, x, y)
        p, state = update(job["optimizer"], p, g, state)
        return p, s, state, loss

    with jax.default_device(jax.devices("cpu")[0]):
        state = initial_state(job["optimizer"], p)
    abstract = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (p, s, state, x, y))
    lowered = train.lower(*abstract)
    began = time.perf_counter()
    compiled = lowered.compile(compiler_options={"xla_allow_excess_precision": False})
    cost = compiled.cost_analysis()
    return {
        "seconds": time.perf_counter() - began,
        "flops": cost.get("flops"),
        "bytesAccessed": cost.get("bytes accessed"),
        "estimatedSeconds": cost.get("optimal_seconds"),
        "devices": len(topology.devices),
    }


for job in json.load(sys.stdin):
    print(json.dumps(compile_for(job)), flush=True)
