"""Records what PyTorch's torch.nn.utils make of small layers: keys, values, outputs, losses of three steps, and what is left at the end.

    python tests/parity/utils/make_utils.py        (PyTorch 2.13; writes utils.jsonl beside this file)

Deterministic: two runs write the same bytes.
"""

import json
import pathlib
import warnings

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

warnings.simplefilter("ignore")
torch.set_num_threads(1)
lines = []


def numbers(t):
    return [float(f"{x:.9g}") for x in t.detach().double().flatten().tolist()]


def state(module):
    return [[key, list(t.shape), numbers(t)] for key, t in module.state_dict().items()]


def formula(shape):
    n = torch.Size(shape).numel()
    return torch.sin(torch.arange(n, dtype=torch.float64) * 0.7 + 0.3).float().reshape(shape)


def record(name, make, shape, finish=None):
    """What is made after a seed, three steps of training, an evaluation, and what `finish` leaves."""
    torch.manual_seed(0)
    module = make()
    line = {"name": name, "shape": shape, "repr": repr(module), "initial": state(module), "parameters": [n for n, _ in module.named_parameters()]}
    x = formula(shape)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        loss = module(x).pow(2).mean()
        losses.append(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    line["losses"] = numbers(torch.stack(losses))
    module.eval()
    line["output"] = numbers(module(x))
    line["trained"] = state(module)
    line["after"] = torch.randint(0, 2**31, [1]).item()
    if finish is not None:
        finish(module)
        line["finished"] = state(module)
        line["finishedParameters"] = [n for n, _ in module.named_parameters()]
        line["finishedOutput"] = numbers(module(x))
    lines.append(line)


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)


class Scaled(nn.Module):
    def forward(self, x):
        return x * 0.5

    def right_inverse(self, x):
        return x * 2


class Again(Scaled):
    pass


utils = nn.utils
L = lambda i=4, o=3: nn.Linear(i, o)  # noqa: E731
C = lambda: nn.Conv2d(2, 3, 3)  # noqa: E731

record("weightNorm", lambda: utils.weight_norm(L()), [5, 4], utils.remove_weight_norm)
record("weightNorm of bias, dim null", lambda: utils.weight_norm(L(), "bias", None), [5, 4], lambda m: utils.remove_weight_norm(m, "bias"))
record("weightNorm of a convolution, dim 1", lambda: utils.weight_norm(C(), dim=1), [2, 2, 5, 5], utils.remove_weight_norm)
record("spectralNorm", lambda: utils.spectral_norm(L()), [5, 4], utils.remove_spectral_norm)
record("spectralNorm of a convolution", lambda: utils.spectral_norm(C(), n_power_iterations=2, dim=1), [2, 2, 5, 5], utils.remove_spectral_norm)
record("spectralNorm of a transposed convolution", lambda: utils.spectral_norm(nn.ConvTranspose2d(3, 2, 3)), [2, 3, 4, 4])
record("parametrizations.spectralNorm of a transposed convolution", lambda: parametrizations.spectral_norm(nn.ConvTranspose1d(3, 2, 3)), [2, 3, 4])
record("parametrizations.weightNorm", lambda: parametrizations.weight_norm(L()), [5, 4], lambda m: parametrize.remove_parametrizations(m, "weight"))
record("parametrizations.weightNorm, dim null", lambda: parametrizations.weight_norm(L(), "weight", None), [5, 4])
record("parametrizations.spectralNorm", lambda: parametrizations.spectral_norm(L(), n_power_iterations=2), [5, 4], lambda m: parametrize.remove_parametrizations(m, "weight"))
record("parametrizations.spectralNorm of a convolution", lambda: parametrizations.spectral_norm(C(), dim=1), [2, 2, 5, 5])
record("parametrizations.spectralNorm of a vector", lambda: parametrizations.spectral_norm(L(), "bias"), [5, 4])
for kind, i, o in [("matrix_exp", 4, 4), ("cayley", 4, 4), ("householder", 4, 4), ("matrix_exp", 5, 3), ("cayley", 3, 5), ("householder", 5, 3), ("householder", 3, 5)]:
    record(f"orthogonal, {kind}, {o} by {i}", lambda: parametrizations.orthogonal(L(i, o), orthogonal_map=kind), [4, i], lambda m: parametrize.remove_parametrizations(m, "weight"))
    record(f"orthogonal, {kind}, {o} by {i}, plain", lambda: parametrizations.orthogonal(L(i, o), "weight", kind, use_trivialization=False), [4, i])
record("orthogonal, default", lambda: parametrizations.orthogonal(L(3, 5)), [4, 3])
record("symmetric", lambda: parametrize.register_parametrization(L(3, 3), "weight", Symmetric()), [4, 3], lambda m: parametrize.remove_parametrizations(m, "weight"))
record("symmetric, left", lambda: parametrize.register_parametrization(L(3, 3), "weight", Symmetric()), [4, 3], lambda m: parametrize.remove_parametrizations(m, "weight", leave_parametrized=False))


def two():
    module = L(3, 3)
    parametrize.register_parametrization(module, "weight", Scaled())
    parametrize.register_parametrization(module, "weight", Again())
    parametrize.register_parametrization(module, "bias", Scaled())
    with torch.no_grad():
        module.weight = formula([3, 3])
    return module


record("two, and an assignment", two, [4, 3], lambda m: parametrize.remove_parametrizations(m, "weight"))

out = lambda name="weight": lambda m: prune.remove(m, name)  # noqa: E731
record("prune.identity", lambda: prune.identity(L(), "weight"), [5, 4], out())
record("prune.randomUnstructured", lambda: prune.random_unstructured(L(), "weight", 0.3), [5, 4], out())
record("prune.l1Unstructured", lambda: prune.l1_unstructured(L(), "weight", 5), [5, 4], out())
record("prune.l1Unstructured by scores", lambda: prune.l1_unstructured(L(), "bias", amount=1, importance_scores=formula([3])), [5, 4], out("bias"))
record("prune.randomStructured", lambda: prune.random_structured(C(), "weight", 0.5, 0), [2, 2, 5, 5], out())
record("prune.lnStructured", lambda: prune.ln_structured(C(), "weight", 0.34, n=2, dim=-1), [2, 2, 5, 5], out())
record("prune.lnStructured, infinity", lambda: prune.ln_structured(L(), "weight", 1, n=float("inf"), dim=0), [5, 4], out())
record("prune.customFromMask", lambda: prune.custom_from_mask(L(), "bias", torch.tensor([1, 0, 1])), [5, 4], out("bias"))
record("prune twice, unstructured", lambda: prune.random_unstructured(prune.l1_unstructured(L(), "weight", 0.25), "weight", 0.5), [5, 4], out())
record("prune twice, structured", lambda: prune.ln_structured(prune.ln_structured(C(), "weight", 1, 1, 0), "weight", 0.5, 2, 0), [2, 2, 5, 5], out())
record("prune thrice, mixed", lambda: prune.custom_from_mask(prune.random_structured(prune.random_unstructured(L(), "weight", 2), "weight", 1, 1), "weight", formula([3, 4]).gt(-0.8)), [5, 4], out())


def globally():
    net = nn.Sequential(L(4, 3), L(3, 2))
    prune.l1_unstructured(net[0], "weight", 2)
    prune.global_unstructured([(net[0], "weight"), (net[1], "weight"), (net[0], "bias")], pruning_method=prune.L1Unstructured, importance_scores={(net[1], "weight"): formula([2, 3])}, amount=0.4)
    return net


record("prune.globalUnstructured", globally, [5, 4], lambda m: prune.remove(m[1], "weight"))

# Layers with a normalisation behind them, in evaluation.
for name, make, shape in [
    ("Conv2d", lambda: (nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3)), [2, 2, 5, 5]),
    ("ConvTranspose1d", lambda: (nn.ConvTranspose1d(2, 3, 3), nn.BatchNorm1d(3, affine=False)), [2, 2, 5]),
    ("Linear", lambda: (nn.Linear(4, 3), nn.BatchNorm1d(3, eps=0.1)), [5, 4]),
    ("Linear, one feature", lambda: (nn.Linear(4, 3, bias=False), nn.BatchNorm1d(1)), [5, 4]),
]:
    torch.manual_seed(0)
    layer, bn = make()
    for i, t in enumerate([*bn.parameters(), bn.running_mean, bn.running_var]):
        t.data = formula(t.shape) * 0.5 + 1 + 0.1 * i
    layer.eval(), bn.eval()
    fused = utils.fuse_linear_bn_eval(layer, bn) if isinstance(layer, nn.Linear) else utils.fuse_conv_bn_eval(layer, bn, transpose="Transpose" in name)
    lines.append({"name": f"fused {name}", "shape": shape, "state": state(fused), "output": numbers(fused(formula(shape))), "requiresGrad": [p.requires_grad for p in fused.parameters()]})

# What has no module of its own.
torch.manual_seed(0)
net = nn.Sequential(L(4, 3), L(3, 2))
net(formula([5, 4])).pow(2).sum().backward()
grads = [p.grad.clone() for p in net.parameters()]
clips = []
for norm_type in [1.0, 2.0, 3.5, 0.5, float("inf")]:
    for p, g in zip(net.parameters(), grads):
        p.grad = g.clone()
    total = utils.clip_grad_norm_(net.parameters(), 0.5, norm_type)
    clips.append({"normType": str(norm_type), "total": numbers(total), "only": numbers(utils.get_total_norm(grads, norm_type)), "grads": [numbers(p.grad) for p in net.parameters()]})
for p, g in zip(net.parameters(), grads):
    p.grad = g.clone()
utils.clip_grads_with_norm_(net.parameters(), 0.5, torch.tensor(3.0))
withNorm = [numbers(p.grad) for p in net.parameters()]
utils.clip_grad_value_(net.parameters(), 0.01)
vector = utils.parameters_to_vector(net.parameters())
lines.append({"name": "clipping", "clips": clips, "withNorm": withNorm, "byValue": [numbers(p.grad) for p in net.parameters()], "vector": numbers(vector)})

given = {"0.weight": formula([3, 4]).requires_grad_(), "1.bias": formula([2]).requires_grad_()}
result = torch.func.functional_call(net, given, (formula([5, 4]),))
result.pow(2).sum().backward()
lines.append({"name": "functionalCall", "output": numbers(result), "grads": [numbers(t.grad) for t in given.values()]})

path = pathlib.Path(__file__).with_name("utils.jsonl")
path.write_text("".join(json.dumps(line) + "\n" for line in lines))
print(len(lines), "lines")
