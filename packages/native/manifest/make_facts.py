"""What docstrings of generated operators say, asked of PyTorch itself: operator-facts.json beside this file.

Run with the PyTorch of the pinned libtorch: python make_facts.py. For each operator: its tags that say how it works,
where its page is, and what one small call makes of shapes and dtypes. Nothing is taken from PyTorch's texts.
"""

import json
import pathlib
import warnings

import torch

warnings.simplefilter("ignore")
torch.manual_seed(0)
TAGS = {"pointwise": "pointwise", "reduction": "reduction", "nondeterministic_seeded": "random",
        "data_dependent_output": "reads", "dynamic_output_shape": "counts"}
SHAPES = ([[2, 3]] * 4, [[2, 3], [3, 2], [3, 2], [3, 2]], [[2, 3], [2, 4], [4, 3], [2, 3]], [[3, 3]] * 4, [[3]] * 4,
          [[2, 3], [3], [3], [3]], [[3, 2], [3], [3], [3]], [[2, 3, 4], [2, 4, 3], [2, 4, 3], [2, 3, 3]],
          [[1, 2, 8], [2, 2, 3], [2], [2]], [[1, 2, 8, 8], [2, 2, 3, 3], [2], [2]])


def page(name):
    for space in ("linalg", "fft", "special"):
        if name.startswith(space + "_"):
            short = name[len(space) + 1:]
            module = getattr(torch, space)
            return f"torch.{space}.{short}" if getattr(getattr(module, short, None), "__doc__", None) else None
    if name.endswith("_"):
        return None  # what works in place has a page as a method
    for module, place in ((torch.nn.functional, "torch.nn.functional"), (torch, "torch")):
        if getattr(getattr(module, name, None), "__doc__", None):
            return f"{place}.{name}"
    return None


def values(shape, dtype):
    """Ones, and for square matrices a regular one."""
    made = torch.ones(shape)
    if len(shape) > 1 and shape[-1] == shape[-2]:
        made = made + 2 * torch.eye(shape[-1])
    return made.to(dtype)


def sample(argument, shapes, dtype):
    kind = str(argument.real_type)
    if kind == "Tensor":
        shape = shapes.pop(0)
        index = argument.name in ("index", "indices", "mask", "condition")
        if argument.name in ("mask", "condition"):
            return torch.ones(shape, dtype=torch.bool), shape
        return (torch.zeros(shape, dtype=torch.int64) if index else values(shape, dtype)), shape
    if kind == "List[Tensor]":
        shape = shapes.pop(0)
        return [values(shape, dtype), values(shape, dtype)], [shape, shape]
    if kind in ("int", "SymInt"):
        return (0, None) if argument.name in ("dim", "dim0", "index", "axis", "axis0", "start") else (1, None)
    if kind in ("float", "number"):
        return 1.0 if kind == "float" else 1, None
    if kind == "bool":
        return False, None
    if kind in ("List[int]", "List[SymInt]"):
        return ([0] if argument.name.startswith("dim") else [2, 3][: argument.N or 2]), None
    raise TypeError(kind)


def call(overload, dtype, shapes):
    shapes = [list(shape) for shape in shapes]
    given, said = [], []
    for argument in overload._schema.arguments:
        if argument.kwarg_only or argument.has_default_value():
            continue
        value, shape = sample(argument, shapes, dtype)
        given.append(value)
        said.append(f"[{', '.join(map(str, shape))}]" if shape is not None else f"{argument.name} = {json.dumps(value)}")
    result = overload(*given)
    if not any(isinstance(v, torch.Tensor) or (isinstance(v, list) and isinstance(v[0], torch.Tensor)) for v in given):
        raise TypeError("no tensor")
    return said, [result] if isinstance(result, torch.Tensor) else list(result)


def facts_of(name):
    packet = getattr(torch.ops.aten, name)
    overloads = [getattr(packet, each) for each in packet.overloads()]
    plain = [o for o in overloads if not any(a.is_out for a in o._schema.arguments)]
    found = {}
    tags = {str(tag).split(".")[-1] for o in plain for tag in o.tags}
    found["how"] = sorted(word for tag, word in TAGS.items() if tag in tags)
    alias = [r.alias_info for o in plain for r in o._schema.returns]
    if alias and all(a is not None and not a.is_write for a in alias):
        found["how"].append("view")
    if (link := page(name)) is not None:
        found["page"] = link
    if getattr(getattr(torch.Tensor, name, None), "__doc__", None):
        found["method"] = f"torch.Tensor.{name}"
    if name.endswith("_") or "random" in found["how"] or name.startswith(("sym_", "fbgemm", "mkldnn", "quantize")):
        return found
    for overload in sorted(plain, key=lambda o: (o._overloadname not in ("default", "Tensor", "self"), o._overloadname == "default" and name == "where")):
        for shapes in SHAPES:
            try:
                said, results = call(overload, torch.float32, shapes)
                if not all(isinstance(r, torch.Tensor) for r in results) or len(results) > 4:
                    break
            except Exception:
                continue
            found["shapes"] = [", ".join(said), ", ".join(f"[{', '.join(map(str, r.shape))}]" for r in results)]
            dtypes = []
            for dtype in (torch.float32, torch.int64, torch.bool):
                try:
                    made = call(overload, dtype, shapes)[1]
                    dtypes.append([str(dtype)[6:], ", ".join(str(r.dtype)[6:] for r in made)])
                except Exception:
                    pass
            found["dtypes"] = dtypes
            break
        if "shapes" in found:
            break
    return found


names = sorted({s.name[6:] for s in torch._C._jit_get_all_schemas() if s.name.startswith("aten::")})
facts = {}
skipped = ("_", "backward", "cudnn", "miopen", "to_dense", "sparse_", "set_data", "record_stream", "rename", "align_", "unflatten_dense")
with torch.no_grad():
    for name in names:
        if name.startswith(skipped) or name.endswith("_backward"):
            continue
        try:
            one = facts_of(name)
        except (AttributeError, RuntimeError):
            continue
        if one != {"how": []}:
            facts[name] = one
lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in facts.items())
path = pathlib.Path(__file__).with_name("operator-facts.json")
path.write_text('{\n  "torch": %s,\n  "operators": {\n%s\n  }\n}\n' % (json.dumps(torch.__version__.split("+")[0]), lines))
print(len(facts), "operators,", sum("shapes" in f for f in facts.values()), "with shapes,", sum("page" in f for f in facts.values()), "with a page")
