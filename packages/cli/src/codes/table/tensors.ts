import { family } from "../family.js";

export const tensors = family(
  "tensors",
  {
    title: "Tensors, autograd, modules and optimizers",
    brief: "What `@nbit/torch` refuses, and what libtorch does.",
    by: "NbitError",
    in: ["torch"],
  },
  {
    AUTOGRAD_COUNT: {
      means: "The backward of a Function returned another number of gradients than its forward has inputs.",
      cause: "A gradient was left out for an input that needs none.",
      fix: "Return one for each input, in their order: null where there is none.",
      by: "TorchError",
      in: ["native"],
    },
    AUTOGRAD_FREED: {
      means: "A backward went through a Function of your own a second time, after what it had saved was freed.",
      cause: "Two losses over one graph, with a `backward()` for each.",
      fix: "Add the losses and call backward once, or pass `retainGraph: true` the first time.",
      by: "TorchError",
      in: ["native"],
    },
    AUTOGRAD_THREAD: {
      means: "A backward or hook in JavaScript was reached on a thread that cannot run JavaScript.",
      cause: "Backward calls nested very deeply inside of one another.",
      fix: "Move the Function or hook out of the nested backward.",
      by: "TorchError",
      in: ["native"],
    },
    BACKWARD_HOOK: {
      means: "A full backward hook wants to replace a gradient that nobody asked for.",
      cause: "None of the module's inputs requires gradients.",
      fix: "Return nothing from the hook, or let an input require gradients.",
    },
    ERR_ANOMALY: {
      means: "Under anomaly detection, a backward made NaN.",
      cause: "A division by 0, the logarithm or root of 0, an overflow in float16.",
      fix: "The message has the line of the forward that the gradient belongs to: guard it, or clamp its input.",
      by: "AnomalyError",
      example: `import { autograd, tensor } from "@nbit/torch";
autograd.detectAnomaly(() => {
  const x = tensor([0], { requiresGrad: true });
  x.sqrt().mul(0).sum().backward();
});`,
    },
    ERR_ARGUMENT: {
      means: "An argument has a type or a value that the function does not take. Found before any work started.",
      cause: "A misspelt option, a negative size, a string where a number is expected.",
      fix: "The message says the argument, what was expected and what was received.",
      by: "ArgumentError",
      in: ["torch", "native", "cli"],
      example: `import { zeros } from "@nbit/torch";
zeros([2], { dtype: "float31" });`,
    },
    ERR_ASYNC_HOOK: {
      means: "A hook that must end when it returns has returned a promise.",
      cause: "An `async` hook of a tensor, or of the Trainer where nothing can wait.",
      fix: "Make the hook synchronous, and start what takes longer elsewhere.",
      in: ["torch", "lightning"],
      example: `import { tensor } from "@nbit/torch";
const x = tensor([1], { requiresGrad: true });
x.registerHook(async () => {});
x.sum().backward();`,
    },
    ERR_ASYNC_MODE: {
      means:
        "A function that runs something under a mode (`noGrad`, `detectAnomaly`, `cuda.stream`, …) was given an asynchronous function.",
      cause: "`noGrad(async () => …)`: what follows an `await` would run outside the mode.",
      fix: "Open the mode inside the asynchronous function, around its synchronous parts.",
      example: `import { noGrad } from "@nbit/torch";
noGrad(async () => {});`,
    },
    ERR_CHECKPOINT_MISMATCH: {
      means: "`checkpoint` ran its function a second time, and that made other tensors than the first time.",
      cause:
        "A function that depends on something that has changed: a counter, a training flag, random numbers of its own.",
      fix: "Make the function depend on its arguments alone.",
      by: "TorchError",
      in: ["native"],
    },
    ERR_CHECKPOINT_REENTRANT: {
      means: "A backward within the recomputation of a checkpoint would need that same checkpoint again.",
      cause: "`backward()` inside the function of a `checkpoint`, over its own result.",
      fix: "Call backward outside of the function.",
      by: "TorchError",
      in: ["native"],
    },
    ERR_CHECKPOINT_TENSOR: {
      means: "The function of a `checkpoint` uses a tensor that is gone when backward runs it again.",
      cause: "The function closes over a tensor of a scope that has ended.",
      fix: "Pass tensors to `checkpoint` as arguments: it keeps those.",
    },
    ERR_DATA_TIMEOUT: {
      means: "A worker of a DataLoader gave no batch within `timeout` seconds.",
      cause: "A slow disk or download; a dataset that waits for ever.",
      fix: "Raise `timeout`, or look at what the worker waits for.",
      by: "DataWorkerError",
    },
    ERR_DATA_WORKER: {
      means: "A worker of a DataLoader ended before its work was done.",
      cause: "`process.exit` in a dataset; out of memory.",
      fix: "Run it with `numWorkers: 0`, where the error shows with its stack.",
      by: "DataWorkerError",
    },
    ERR_DEPENDENT_CONSTRAINT: {
      means: "A constraint that depends on a distribution's parameters was asked about values.",
      cause: "`constraints.dependent.check(x)`.",
      fix: "Ask the distribution's own `support`.",
    },
    ERR_FUNC_TRANSFORM: {
      means: "A function transform (`func.grad`, `func.vmap`, …) cannot do what was asked here.",
      cause: "More than 60 transforms inside of one another, inference mode, or hooks of saved tensors around it.",
      fix: "The message says what is in the way; call the transform outside of it.",
      by: "TorchError",
    },
    ERR_GRADCHECK: {
      means: "`gradcheck` found that gradients by autograd and by differences do not agree.",
      cause: "A wrong `backward` of a Function of one's own; inputs in float32, whose differences are too coarse.",
      fix: "Use float64 inputs first; then look at the entry that the message names.",
      by: "GradcheckError",
      example: `import { autograd, tensor } from "@nbit/torch";
autograd.gradcheck((x) => x.square().detach().add(x), [tensor([3], { dtype: "float64", requiresGrad: true })]);`,
    },
    ERR_INTERNAL: {
      means: "Something that nbit makes sure of was not so. It is a mistake in nbit.",
      cause: "None is known.",
      fix: "Please report it, with the program.",
      in: ["lowbit"],
    },
    ERR_NOT_IMPLEMENTED: {
      means: "A distribution or constraint has no such method.",
      cause: "`entropy` or `cdf` of a distribution for which there is no formula.",
      fix: "Estimate it from samples, or use a distribution that has it.",
      example: `import { distributions } from "@nbit/torch";
new distributions.Poisson(1).entropy();`,
    },
    ERR_NO_OPERATOR: {
      means: "This libtorch, or this addon, has no such operator.",
      cause: "An older libtorch than the operator; an addon that was built without the low-bit kernels.",
      fix: "Run `npx nbit doctor` to see the versions, and `npx nbit setup`.",
      by: "ArgumentError",
      in: ["torch", "lowbit", "native"],
    },
    ERR_SAVED_TENSORS: {
      means: "`savedTensors` of a Function was read in its forward.",
      cause: "Reading back what `saveForBackward` was just given.",
      fix: "Use the tensors themselves in forward; `savedTensors` is for backward.",
    },
    ERR_SYNC_BATCH_NORM_TWICE: {
      means: "SyncBatchNorm has no second derivative.",
      cause: "`backward({ createGraph: true })` or `grad(…, { createGraph: true })` through it.",
      fix: "Use BatchNorm, or compute the second derivative without it.",
    },
    ERR_TENSOR_CONSTRUCTOR: {
      means: "A tensor was to be made with `new` and nothing, or as an object of a class of its own.",
      cause: "`new Tensor()`; `class Mine extends Tensor`.",
      fix: "Write `tensor([…])`, or a factory such as `zeros`.",
      by: "ArgumentError",
      example: `import { Tensor } from "@nbit/torch";
new Tensor();`,
    },
    ERR_TENSOR_INDEX: {
      means: "A tensor was used like an array.",
      cause: "`t[0]` or `t.length`.",
      fix: "Write `t.at(0)`, `t.size(0)` or `t.numel()`.",
      by: "ArgumentError",
      example: `import { tensor } from "@nbit/torch";
tensor([1, 2])[0];`,
    },
    ERR_TENSOR_OPERATOR: {
      means: "A JavaScript operator was used on a tensor.",
      cause: "`a + b`, `a < b` or `` `${a}` `` in arithmetic. JavaScript does not let operators be overloaded.",
      fix: "Write `a.add(b)`, `a.lt(b)`; `a.item()` gives the number of a one-element tensor.",
      example: `import { tensor } from "@nbit/torch";
tensor([1]) + 1;`,
    },
    GRADIENT_LAYOUT: {
      means: "An optimizer, or a helper, got a gradient in a layout that it has no rule for.",
      cause:
        "A sparse gradient of `Embedding({ sparse: true })` with Adagrad's `weightDecay`, or with a low-bit optimizer.",
      fix: "Use `sparse: false`, or an optimizer such as SparseAdam.",
    },
    MODULE_CYCLE: {
      means: "A module contains itself.",
      cause: "`this.parent = parent`, with the parent holding the child.",
      fix: "Keep references to parents outside of fields that hold modules, for example in a `WeakRef`.",
      example: `import { nn } from "@nbit/torch";
class Loop extends nn.Module {
  self = this;
}
new Loop().stateDict();`,
    },
    NON_FINITE_NORM: {
      means: "`clipGradNorm_` with `errorIfNonfinite` met an infinite norm, or NaN.",
      cause: "An overflow in the step, or a loss scale that is too high for it.",
      fix: "Under loss scaling leave the option out: the scaler skips such steps. Otherwise lower the learning rate.",
      example: `import { nn, tensor } from "@nbit/torch";
const w = tensor([1], { requiresGrad: true });
w.grad = tensor([Infinity]);
nn.utils.clipGradNorm_([w], 1, { errorIfNonfinite: true });`,
    },
    NOT_IMPLEMENTED: {
      means: "A parametrization has no `rightInverse`.",
      cause: "Assigning to a parametrized weight.",
      fix: "Define `rightInverse` in the parametrization, or set its `original`.",
    },
    NO_EXTRA_STATE: {
      means: "`getExtraState` or `setExtraState` was called on a module that does not define it.",
      cause: "A direct call; `loadStateDict` of a state with extra state.",
      fix: "Override both, or leave the extra state out.",
      example: `import { nn } from "@nbit/torch";
new nn.Linear(1, 1).getExtraState();`,
    },
    NO_FORWARD: {
      means: "The base class of recurrent networks was called.",
      cause: '`new nn.RNNBase("LSTM", …)` used as a network.',
      fix: "Use `nn.LSTM`, `nn.GRU` or `nn.RNN`.",
    },
    ONNX_OPERATOR: {
      means: "The model uses an operator, a dtype or an option that has no counterpart in ONNX here.",
      cause: "bfloat16-only dtypes, or operators for training alone.",
      fix: "The message has the place; convert the model to float32, or rewrite that part.",
      by: "OnnxError",
    },
    ONNX_TOO_LARGE: {
      means: "An ONNX file cannot be larger than 2 GiB.",
      cause: "A model with more than half a billion float32 weights.",
      fix: "Export it in float16, or in parts.",
      by: "OnnxError",
    },
    ONNX_TRACE: {
      means: "The exporter could not follow the model.",
      cause: "Control flow that depends on values; a tensor from outside; an axis that is not dynamic after all.",
      fix: "Give the model tensors only, and leave the axis out of `dynamicAxes`.",
      by: "OnnxError",
    },
    OPTIMIZER_CLOSURE: {
      means: "LBFGS needs a closure that computes the loss, and returns it.",
      cause: "`optimizer.step()` as for other optimizers.",
      fix: "Pass `() => { optimizer.zeroGrad(); const loss = …; loss.backward(); return loss; }`.",
      example: `import { nn, optim } from "@nbit/torch";
new optim.LBFGS(new nn.Linear(1, 1).parameters()).step();`,
    },
    OPTIMIZER_STATE: {
      means: "The state of an optimizer does not fit this one. Nothing was changed.",
      cause: "Another optimizer, other parameters or other groups than when it was saved.",
      fix: "Build the optimizer as it was built then, and load the state afterwards.",
      in: ["torch", "lowbit"],
      example: `import { nn, optim } from "@nbit/torch";
const one = new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: 0.1 });
const other = new optim.SGD(new nn.Linear(1, 1, { bias: false }).parameters(), { lr: 0.1 });
one.loadStateDict(other.stateDict());`,
    },
    OPTIMIZER_STEP: {
      means: "A class that extends Optimizer does not say how to step.",
      cause: "Neither `step` nor `stepGroup` is overridden.",
      fix: "Override one of them.",
    },
    SCHEDULER_RATES: {
      means: "A class that extends LRScheduler does not say its rates.",
      cause: "`getLr` is not overridden.",
      fix: "Override it.",
    },
    SCOPE_ASYNC: {
      means: "`scope` was given an asynchronous function.",
      cause: "`scope(async () => …)`: its code would run after its tensors are freed.",
      fix: "Open a scope inside the asynchronous function, around its synchronous parts.",
      example: `import { scope } from "@nbit/torch";
scope(async () => {});`,
    },
    STATE_DICT_KEY: {
      means: "The fields of a module do not give unambiguous keys of a state dict.",
      cause: "A field with a dot in its name, or two fields with the same key.",
      fix: 'Rename one of them, or give it a key: `static stateKeys = { field: "key" }`.',
    },
    STATE_DICT_MISMATCH: {
      means: "A state dict does not fit the module: keys are missing or unexpected, or shapes differ.",
      cause: "Weights of another version of the model; a prefix such as `module.`.",
      fix: "The message lists the keys. Rename them, or pass `{ strict: false }` to load what fits by name.",
      in: ["torch", "lowbit", "lightning"],
      example: `import { nn, zeros } from "@nbit/torch";
new nn.Linear(2, 2).loadStateDict({ weigth: zeros([2, 2]) });`,
    },
    TENSOR_DISPOSED: {
      means: "A tensor was used after its memory was given back.",
      cause: "A tensor made inside `scope` (or a training step) is kept in a field, and used later.",
      fix: "Return it from the scope, or call `keep(tensor)` before the scope ends. See [memory-model.md](../memory-model.md).",
      by: "TensorDisposedError",
      in: ["torch", "native"],
      example: `import { scope, zeros } from "@nbit/torch";
let x = zeros([1]);
scope(() => void (x = zeros([2])));
x.sum();`,
    },
    TENSOR_FOREIGN: {
      means: "A tensor of another thread, vm context or copy of nbit was used here.",
      cause: "Test runners with vm contexts; two copies of `@nbit/torch`.",
      fix: "Hand tensors over as values, or by the DataLoader's workers; run `npm dedupe`.",
      by: "TorchError",
      in: ["native"],
    },
    TENSOR_HANDLE: {
      means: "The addon was given a number that is no tensor. It is a mistake in nbit.",
      cause: "None is known.",
      fix: "Please report it, with the program.",
      by: "TorchError",
      in: ["native"],
    },
    TENSOR_TABLE_FULL: {
      means: "There are more live tensors than the table can hold: 16 million.",
      cause: "Tensors that are kept in an array, and never disposed.",
      fix: "Work inside `scope`, and keep only what you need. `memory.liveTensors()` counts them.",
      by: "TorchError",
      in: ["native"],
    },
    TORCH: {
      means: "libtorch refused an operation; the message is PyTorch's own.",
      cause:
        "Shapes that do not fit; backward a second time through a freed graph; an in-place change of what backward needs.",
      fix: "Read the message: it is the one that PyTorch gives for the same mistake.",
      by: "TorchError",
      in: ["native"],
      example: `import { ones } from "@nbit/torch";
ones([2, 3]).matmul(ones([2, 3]));`,
    },
    TORCH_DTYPE_MISMATCH: {
      means: "Two tensors of different dtypes met in an operator that does not convert.",
      cause: "A float32 input for a float16 module, outside of autocast.",
      fix: "Run the forward in autocast or through the Trainer, or convert one: the message names the module.",
      by: "DTypeMismatchError",
      example: `import { nn, ones } from "@nbit/torch";
new nn.Linear(2, 2).half().forward(ones([1, 2]));`,
    },
    TORCH_INDEX: {
      means: "An index is out of range.",
      cause: "A dimension or position beyond the shape.",
      fix: "Compare the index with `t.shape`.",
      by: "TorchError",
      in: ["native"],
    },
    TORCH_LINALG: {
      means: "A matrix cannot be worked with: it is singular, or not positive definite.",
      cause: "The inverse of a matrix of zeros; a Cholesky decomposition of rounded covariances.",
      fix: "Add a small multiple of the identity, or use `linalg.pinv` or `lstsq`.",
      by: "LinAlgError",
      in: ["native"],
      example: `import { linalg, zeros } from "@nbit/torch";
linalg.inv(zeros([2, 2]));`,
    },
    TORCH_NOT_IMPLEMENTED: {
      means: "libtorch has no kernel of this operator for the dtype, layout or device.",
      cause: "An operator on float8 or on sparse tensors; one without a CUDA kernel.",
      fix: "Convert the tensor first, as in `x.float()` or `x.toDense()`.",
      by: "TorchError",
      in: ["native"],
    },
    TORCH_NUMBER_RANGE: {
      means: "A number does not fit the dtype that it was to become.",
      cause: "A constant such as -1e9 or 70000 in a float16 region: it would be infinite.",
      fix: "Use a constant within the dtype's range (`finfo(dtype).min`), or float32 there.",
      by: "NumberRangeError",
      example: `import { autocast, ones } from "@nbit/torch";
autocast({ dtype: "float16" }, () => {
  const scores = ones([2, 2]).mm(ones([2, 2]));
  scores.maskedFill(scores.gt(0), -1e9);
});`,
    },
    TORCH_OUT_OF_MEMORY: {
      means: "Memory of the device, or of the machine, did not suffice. Tensors that exist go on living.",
      cause: "A batch that is too large; results that are kept with their graph.",
      fix: "Lower the batch size, `detach()` what you keep, use a lower precision or `checkpoint`. On a GPU the message ends with what is held.",
      by: "OutOfMemoryError",
      in: ["torch", "native"],
      example: `import { ones } from "@nbit/torch";
ones([1e7, 1e7]);`,
    },
    TORCH_TYPE: {
      means: "libtorch got a value of a type that it does not take there.",
      cause: "A complex tensor where a real one is expected.",
      fix: "Convert it first.",
      by: "TorchError",
      in: ["native"],
    },
    TORCH_VALUE: {
      means: "libtorch refused a value.",
      cause: "An option outside of its range.",
      fix: "The message has the range.",
      by: "TorchError",
      in: ["native"],
    },
    TRACE_FULL: {
      means: "A FlopCounterMode saw more operators than it keeps.",
      cause: "Counting a whole epoch.",
      fix: "Count one step, and multiply.",
    },
    TRACE_NESTED: {
      means: "A FlopCounterMode was started twice.",
      cause: "`start()` on one that is open.",
      fix: "Close it first, or use a second one.",
    },
  },
);
