"""Runs the models that write.ts wrote, and compares what they give with what nbit gave.

    node tests/dist/onnx/write.js FOLDER && python tests/onnx/check.py FOLDER [LOG]       (onnx 1.23, onnxruntime 1.30)

Every model passes onnx.checker with shape inference; then onnxruntime runs it on the CPU. Where it has no kernel (most
operators in bfloat16), onnx's own reference evaluator does.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnx.reference
import onnxruntime

folder = pathlib.Path(sys.argv[1])
log = sys.argv[2] if len(sys.argv) > 2 else None
names = json.loads((folder / "names.json").read_text())
BOUND = {"float64": 1e-10, "float16": 2e-2, "float32": 1e-5}
lines, failed = [], 0


def run(path, feeds):
    try:
        return "onnxruntime", onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feeds)
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error):
            raise
        return "reference", onnx.reference.ReferenceEvaluator(str(path)).run(None, feeds)


for index, name in enumerate(names):
    path = folder / f"{index:03}.onnx"
    if not path.exists():
        continue
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        with np.load(folder / f"{index:03}-inputs.npz") as z:
            inputs = [z[f"arr_{i}"] for i in range(len(z.files))]
        with np.load(folder / f"{index:03}-outputs.npz") as z:
            expected = [z[f"arr_{i}"] for i in range(len(z.files))]
        brain = model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16
        if brain:
            import ml_dtypes

            inputs = [x.astype(ml_dtypes.bfloat16) if x.dtype == np.float32 else x for x in inputs]
        by, found = run(path, {i.name: x for i, x in zip(model.graph.input, inputs)})
        assert len(found) == len(expected), (len(found), len(expected))
        worst = 0.0
        for a, b in zip(found, expected):
            a = np.asarray(a)
            if brain and a.dtype != b.dtype:
                a = a.astype(np.float32)
            assert a.dtype == b.dtype and a.shape == b.shape, (a.dtype, a.shape, b.dtype, b.shape)
            bound = 0.1 if brain else BOUND.get(str(b.dtype), 0)
            scale = max(1.0, float(np.abs(b).max())) if b.size and b.dtype != bool else 1.0
            apart = float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()) / scale if b.size else 0.0
            worst = max(worst, apart)
            assert apart <= bound, f"apart by {apart}"
        nodes = len(model.graph.node)
        # The free axes are free: one more, repeated.
        moved = ""
        free = [d.dim_param for i in model.graph.input for d in i.type.tensor_type.shape.dim if d.dim_param]
        if free and not brain:
            more = []
            for info, x in zip(model.graph.input, inputs):
                for axis, d in enumerate(info.type.tensor_type.shape.dim):
                    if d.dim_param:
                        x = np.concatenate([x, x.take([0], axis=axis)], axis=axis)
                more.append(x)
            again = run(path, {i.name: x for i, x in zip(model.graph.input, more)})[1]
            first = model.graph.output[0].type.tensor_type.shape.dim
            if [d.dim_param for d in first][:1] == free[:1] and len(free) == 1 and "batch" in free[0] and "without statistics" not in name:
                n, near = expected[0].shape[0], 3e-2 if expected[0].dtype == np.float16 else 1e-4
                assert np.allclose(again[0][:n].astype(np.float64), expected[0].astype(np.float64), atol=near), "other results beside one more"
                assert np.allclose(again[0][n].astype(np.float64), expected[0][0].astype(np.float64), atol=near), "another result for the same"
            moved = f", free: {', '.join(dict.fromkeys(free))}"
        lines.append(f"ok    {name}: opset {model.opset_import[0].version}, {nodes} nodes, by {by}, apart by {worst:.1e}{moved}")
    except Exception as error:
        failed += 1
        lines.append(f"WRONG {name}: {type(error).__name__}: {' '.join(str(error).split())[:600]}")

written = [line for line in lines]
summary = f"{len(lines) - failed} of {len(names)} models agree (onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__})"
print("\n".join([line for line in lines if line.startswith("WRONG")] + [summary]))
if log:
    pathlib.Path(log).write_text("\n".join(written + [summary]) + "\n")
sys.exit(failed > 0 or len(lines) < len(names))
