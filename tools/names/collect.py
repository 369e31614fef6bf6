"""Prints PyTorch's public names as JSON, by namespace: what tools/names.mjs looks up in nbit. Needs PyTorch alone."""

import ast
import importlib
import importlib.util
import inspect
import json
import types

import torch
import torch.nn.attention
import torch.autograd.profiler
import torch.func
import torch.nn.modules.module
import torch.nn.utils.fusion
import torch.nn.utils.parametrizations
import torch.nn.utils.parametrize
import torch.nn.utils.prune
import torch.nn.utils.rnn
import torch.optim.swa_utils
import torch.profiler
import torch.utils.benchmark
import torch.utils.checkpoint
import torch.utils.data
import torch.utils.flop_counter


def public(space, keep=lambda name, value: True):
    """Names without a leading underscore that are no modules, no types of annotations and no imports of Python's own."""
    names = set()
    for name in dir(space):
        value = getattr(space, name, None)
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        module = getattr(value, "__module__", None) or ""
        if callable(value) and not module.startswith("torch") and module not in ("", "builtins"):
            continue
        if module == "typing" or type(value).__module__ in ("typing", "__future__"):
            continue
        if keep(name, value):
            names.add(name)
    return sorted(names)


def own(path):
    space = importlib.import_module(f"torch.{path}")
    listed = getattr(space, "__all__", None)
    return sorted(n for n in (listed or public(space)) if not n.startswith("_"))


def functions(space):
    return public(space, lambda name, v: callable(v) and not inspect.isclass(v) and name[0].islower())


def classes(space, base=object):
    return public(space, lambda name, v: inspect.isclass(v) and issubclass(v, base))


def listed(path):
    """What a module defines itself, or says that it gives."""
    space = importlib.import_module(f"torch.{path}")
    return sorted(set(own(path)) - {n for n in own(path) if isinstance(getattr(space, n, None), types.ModuleType)})


def members(cls, without=()):
    return sorted(n for n in dir(cls) if not n.startswith("_") and n not in without)


def arguments(cls):
    """Names of a constructor's arguments in order."""
    try:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def below(path, modules):
    """What modules of a package say that they give, in its own namespace."""
    names = set()
    for module in modules:
        space = importlib.import_module(f"torch.{path}.{module}")
        names |= set(getattr(space, "__all__", None) or [n for n in vars(space) if inspect.isclass(getattr(space, n))
                                                         and getattr(space, n).__module__ == space.__name__])
    return sorted(n for n in names if not n.startswith("_"))


def tensorboard():
    """Read, and not imported, which would need TensorBoard."""
    folder = importlib.util.find_spec("torch.utils").submodule_search_locations[0]
    with open(f"{folder}/tensorboard/writer.py", encoding="utf8") as file:
        (writer,) = [n for n in ast.parse(file.read()).body if isinstance(n, ast.ClassDef) and n.name == "SummaryWriter"]
    methods = [n.name for n in writer.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]
    return ["FileWriter", "RecordWriter", "SummaryWriter"], sorted(methods)


UTILS = ["backend_registration", "collect_env", "cpp_extension", "dlpack", "hooks", "module_tracker", "weak"]


def utils_names():
    """torch.utils itself, and of its modules those that have no namespace of their own in the table."""
    names = {"set_module", "swap_tensors", "get_cpp_backtrace", "ThroughputBenchmark", "cmake_prefix_path"}
    for module in UTILS:
        space = importlib.import_module(f"torch.utils.{module}")
        given = getattr(space, "__all__", None) or [
            n for n, v in vars(space).items() if not n.startswith("_") and getattr(v, "__module__", "") == space.__name__]
        names |= {f"{module}.{n}" for n in given}
    return sorted(names)


TENSOR_DUNDERS = ["getitem", "setitem", "len", "iter", "contains", "float", "int", "bool", "array", "deepcopy", "dlpack", "repr"]


def top_level():
    types_of_numbers = {n for n in dir(torch) if isinstance(getattr(torch, n), torch.dtype)}
    def keep(name, v):
        if isinstance(v, (torch.dtype, torch.layout, torch.memory_format)):
            return name in types_of_numbers and name in ("cdouble", "cfloat")
        if inspect.isclass(v):
            return False
        return True
    skip = {"annotations", "set_vital", "read_vitals", "vitals_enabled", "TYPE_CHECKING", "PRIVATE_OPS"}
    return [n for n in public(torch, keep) if n not in skip and not n.startswith(("cudnn_", "miopen_", "fbgemm_", "quantized_", "mkldnn_"))]


def main():
    nn, optim = torch.nn, torch.optim
    utils = []
    for path in ["", "rnn", "parametrizations", "parametrize", "prune", "fusion"]:
        space = importlib.import_module("torch.nn.utils" + (f".{path}" if path else ""))
        for name in getattr(space, "__all__", []) or []:
            full = f"{path}.{name}" if path and path != "fusion" else name
            if full not in utils:
                utils.append(full)
    writer, writer_methods = tensorboard()
    spaces = {
        "nn": classes(nn),
        "nn.functional": functions(nn.functional),
        "nn.init": functions(nn.init),
        "nn.utils": utils,
        "nn.attention": listed("nn.attention"),
        "optim": [n for n in classes(optim)] + [f"swa_utils.{n}" for n in own("optim.swa_utils")],
        "optim.lr_scheduler": own("optim.lr_scheduler"),
        "nn.modules.module": [n for n in functions(nn.modules.module) if n.startswith("register_module_")],
        "func": own("func"),
        "profiler": own("profiler"),
        "autograd.profiler": own("autograd.profiler"),
        "utils": utils_names(),
        "utils.benchmark": below("utils.benchmark.utils", ["common", "timer", "compare", "fuzzer", "sparse_fuzzer",
                                                           "valgrind_wrapper.timer_interface"]),
        "utils.flop_counter": own("utils.flop_counter"),
        "utils.tensorboard": writer,
        "utils.tensorboard.SummaryWriter.prototype": writer_methods,
        "utils.data": own("utils.data"),
        "utils.checkpoint": own("utils.checkpoint"),
        "amp": sorted(n for n in dir(torch.amp) if not n.startswith("_") and callable(getattr(torch.amp, n))),
        "autograd": sorted(set(listed("autograd")) | {f"functional.{n}" for n in own("autograd.functional")} | {f"graph.{n}" for n in own("autograd.graph")}),
        "linalg": sorted(n for n in dir(torch.linalg) if not n.startswith("_") and callable(getattr(torch.linalg, n)) and n not in ("Tensor",)),
        "fft": sorted(n for n in own("fft")),
        "special": sorted(n for n in own("special")),
        "distributions": own("distributions"),
        "accelerator": own("accelerator"),
        "cuda": own("cuda"),
        "cuda.amp": own("cuda.amp"),
        "onnx": ["export"],
        "random": own("random"),
        "serialization": own("serialization"),
        "Tensor": members(torch.Tensor),
        "Tensor.__": TENSOR_DUNDERS,
        "nn.Module.prototype": members(nn.Module),
        "optim.Optimizer.prototype": members(optim.Optimizer),
        "nn.Sequential.prototype": [n for n in members(nn.Sequential) if n not in dir(nn.Module)],
        "nn.ModuleList.prototype": [n for n in members(nn.ModuleList) if n not in dir(nn.Module)],
        "torch": top_level(),
    }
    constructors = {}
    for space, base in (("nn", nn.Module), ("optim", optim.Optimizer)):
        for name in classes(getattr(torch, space), base):
            constructors[f"{space}.{name}"] = arguments(getattr(getattr(torch, space), name))
    for name in own("optim.lr_scheduler"):
        constructors[f"optim.lr_scheduler.{name}"] = arguments(getattr(optim.lr_scheduler, name))
    constructors["utils.data.DataLoader"] = arguments(torch.utils.data.DataLoader)
    print(json.dumps({"version": torch.__version__.split("+")[0], "spaces": spaces, "constructors": constructors}))


main()
