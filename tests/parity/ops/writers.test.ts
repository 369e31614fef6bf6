/**
 * Everything that writes the memory of a tensor that exists says so: casts and codes of weights are kept for as long as
 * a weight's version, its memory and `weightsEpoch()` stay the same. A new native function or operator that writes is
 * found here.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { native } from "@nbit/native";
import { Float8Linear, LowBitOptimizer } from "@nbit/lowbit";
import {
  amp,
  aten,
  autocast,
  loadSafetensors,
  nn,
  noGrad,
  ones,
  operatorNames,
  operators,
  optim,
  program,
  rand,
  randint,
  saveSafetensors,
  setNumThreads,
  tensor,
  weightsEpoch,
  zeros,
  type AtenOperator,
  type DType,
  type Tensor,
} from "@nbit/torch";
import { camel } from "../../helpers/camel.js";
import { temporaryFolder } from "../../helpers/temporary-folder.js";

setNumThreads(1);

/** Functions of the addon that write memory of a tensor that somebody has. All are tried below. */
const WRITERS = ["call", "copyFromBytes", "countSteps", "programRun", "replayClose", "setData"];
/** Those that write new tensors, gradients, or no tensor at all. */
const OTHERS =
  `buffer setCallbacks release releaseMany attachFinalizer tensorCounts unguarded alive alias meta dtypeOf dataPointer storageInfo compileOp isDirect setDirectCalls intern schemas operatorNames recentOperators fromBytes toBytes
  item items setGradEnabled isGradEnabled inferencePush inferencePop isInferenceMode setRequiresGrad getGrad setGrad gradsInto clearGrads linkGrads gradFnName backward grad attachNode returnGradients registerHook removeHook
  setPostAccumulateHook retainGrad javascriptNodeCount setLinearNode setLinearBranches setMixedLinear autocastGet autocastSet autocastIncrementNesting autocastDecrementNesting autocastClearCache muteWarnings policyCreate policyFree
  policyPush policyPop autocastProbe dumpKernels weightCastsCreate weightCastsFree weightCastsPush weightCastsPop weightCastsBytes weightCastsMade weightCast weightsChanged generatorCreate generatorFree generatorSetSeed generatorSeed generatorReseed generatorCopy
  generatorGetState generatorSetState manualSeed traceStart traceMark traceStop allocatorInstall allocatorStats allocatorResetPeak allocatorSetCap allocatorTrim allocatorFail setThreads getThreads setInteropThreads
  getInteropThreads info setCpuKernels getCpuKernels cpuProducts chooseCpuProducts setSwitch getSwitch setFloat32MatmulPrecision getFloat32MatmulPrecision pow setDefaultDtype getDefaultDtype hasKernel kernelsOf
  savedTensorsHooks savedTensorsOnCpu checkpointBegin checkpointsCounted savedTensorsEnd programBegin programNoted programEnd programRefusal programPlan programText programValue programExternal programFree
  replayCreate replayTell replayOpen replayReason replayCounts replayText replayRest replayFree
  handOver takeOver dropHandedOver drawAlone whenBackwardEnds distConnect distHasNccl distFakeWorld distNewGroup distDestroy distStep distFail distFailure distTable distWait distWhenDone distForget distFlightRecorder distEndWithParent
  vmapEnter gradEnter jvpEnter transformLeave transformDepth addBatchDim hasBatchDim removeBatchDim wrapForLevel unwrapFromLevel innermost makeDual unpackDual
  decodePicture profilerActivities profilerPrepare profilerStart profilerStop profilerSave profilerForget profilerToggle profilerClock recordFunctionEnter recordFunctionExit`.split(
    /\s+/,
  );

test("every native function is known to write a tensor, or not to", () => {
  const known = new Set([...WRITERS, ...OTHERS]);
  // CUDA's are tested on a GPU: graphs advance the epoch.
  const unknown = Object.keys(native).filter(
    (name) => !known.has(name) && !/^(cuda|graph|stream|event|device|nccl|memory|pin)/i.test(name),
  );
  assert.deepEqual(unknown, [], "Say in this file whether they write, and test those that do.");
});

interface Arg {
  readonly name: string;
  readonly kind: string;
  readonly list?: boolean;
  readonly optional?: boolean;
  readonly write?: boolean;
  readonly kwarg?: boolean;
  readonly size?: number;
  readonly default?: unknown;
}
interface Form {
  readonly overload: string;
  readonly args: readonly Arg[];
}
/** How arguments are made: operators differ in what they take, so each is tried in several ways. */
interface Way {
  readonly dtype: DType;
  readonly others: DType;
  readonly shape: readonly number[];
  readonly text: string;
}
const WAYS: readonly Way[] = [
  ...(["float32", "int64", "bool", "float64"] as const).map((dtype) => ({
    dtype,
    others: dtype,
    shape: [2, 2],
    text: "mean",
  })),
  { dtype: "float32", others: "int64", shape: [2, 2], text: "sum" },
  { dtype: "float32", others: "float32", shape: [2], text: "floor" },
  { dtype: "float32", others: "float32", shape: [2, 2, 2], text: "trunc" },
  { dtype: "float32", others: "float32", shape: [], text: "amax" },
  { dtype: "float32", others: "float32", shape: [1], text: "prod" },
  { dtype: "complex64", others: "complex64", shape: [2, 2], text: "mean" },
];

function attempt(
  namespace: Readonly<Record<string, AtenOperator>>,
  name: string,
  form: Form,
  way: Way,
): {
  readonly written: readonly Tensor[];
  readonly versions: readonly number[];
  readonly before: readonly string[];
} | null {
  const written: Tensor[] = [];
  const make = (dtype: DType): Tensor => {
    if (dtype === "bool")
      return tensor([true, false])
        .expand([...way.shape.slice(0, -1), 2])
        .clone();
    return dtype === "int64" ? randint(0, 2, [...way.shape], { dtype }) : rand([...way.shape], { dtype }).add(0.25);
  };
  const value = (a: Arg): unknown => {
    if (a.kind === "t") {
      const one = (): Tensor => make(a.write === true ? way.dtype : way.others);
      const made = a.list === true ? [one(), one()] : a.optional === true && a.write !== true ? null : one();
      if (a.write === true) written.push(...(Array.isArray(made) ? made : made === null ? [] : [made]));
      return made;
    }
    if (a.list === true) return new Array<number>(a.size ?? 2).fill(a.kind === "i" ? 1 : 0.5);
    return { i: 0, f: 0.5, s: 1, b: true, S: way.text, d: way.dtype }[a.kind] ?? null;
  };
  try {
    const positional: unknown[] = [];
    const options: Record<string, unknown> = {};
    for (const a of form.args) {
      if (a.default !== undefined && a.kind !== "b" && a.kind !== "S" && a.name !== "max") continue;
      if (a.kwarg === true) options[camel(a.name)] = value(a);
      else if (positional.length === form.args.indexOf(a)) positional.push(value(a));
    }
    const call = namespace[name]?.[form.overload === "" ? "default" : form.overload];
    if (call === undefined) return null;
    const [versions, before] = [written.map((t) => t.version), written.map(bytes)];
    noGrad(() => (Object.keys(options).length > 0 ? call(...positional, options) : call(...positional)));
    return { written, versions, before };
  } catch {
    return null;
  }
}
const bytes = (t: Tensor): string =>
  t.isSparse ? "" : `${t.shape.join()} ${Buffer.from(t.toBytes()).toString("hex")}`;

/**
 * Operators that can be called by these ways, and their fused kin below. Private parts of others, and random ones with
 * generators, cannot.
 */
test("every operator that writes an argument counts it in the argument's version", () => {
  const silent: string[] = [];
  let tried = 0;
  for (const [prefix, namespace] of [
    ["aten", aten],
    ["nbit", operators("nbit")],
  ] as const) {
    for (const name of operatorNames(prefix)) {
      // What replaces a tensor's memory or drops its graph is no write; of fused steps the epoch tells, below.
      if (
        ["detach_", "requires_grad_", "set_", "resize_", "resize_as_", "resize_as_sparse_", "rename_"].includes(name) ||
        /^_?fused_.*_$/.test(name) ||
        !(name in namespace)
      )
        continue;
      const forms = (JSON.parse(native.schemas(`${prefix}::${name}`)) as Form[]).filter(
        (f) => f.args.some((a) => a.write === true) && !f.args.some((a) => a.kind === "?" && a.default === undefined),
      );
      for (const form of forms)
        for (const way of WAYS) {
          const done = attempt(namespace, name, form, way);
          if (done === null) continue;
          tried++;
          done.written.forEach((t, i) => {
            if (t.version === done.versions[i] && bytes(t) !== done.before[i]) silent.push(`${name}.${form.overload}`);
          });
        }
    }
  }
  assert.deepEqual([...new Set(silent)], [], "They write without counting: name them in kUncounted (dispatch.cc).");
  assert.ok(tried > 1000, `${tried} calls came to their end`);
});

const like = (value: number): Tensor => ones([4]).mul(value);
const float32 = (n: number): Float32Array => new Float32Array(n).fill(0.5);

/** Each writes `w`, or what `w` is derived from. */
const WAYS_TO_WRITE: readonly (readonly [name: string, write: (w: nn.Parameter) => void])[] = [
  ["copyFromBytes", (w) => void w.copyFromBytes(float32(w.numel()))],
  ["copyFromBytes of a transposed view", (w) => void w.detach().t().copyFromBytes(float32(w.numel()))],
  ["copy_", (w) => void w.detach().copy_(zeros([...w.shape]))],
  ["an in-place operator", (w) => void noGrad(() => w.mul_(2))],
  ["a view", (w) => void noGrad(() => w.select(0, 0).fill_(3))],
  ["setAt", (w) => void noGrad(() => w.setAt([0], 7))],
  ["out", (w) => void noGrad(() => void aten["mul"]?.["out"]?.(w.detach(), zeros([...w.shape]), { out: w.detach() }))],
  ["setData", (w) => w.setData(rand([...w.shape]))],
  ["aten.set_data", (w) => void aten["set_data"]?.(w, rand([...w.shape]))],
  ["nn.init", (w) => void nn.init.uniform_(w)],
  ["a list of tensors", (w) => void noGrad(() => void aten["_foreach_add_"]?.["Scalar"]?.([w], 5))],
  [
    "loadStateDict",
    (w) =>
      void Object.assign(new nn.Linear(1, 1, { bias: false }), { weight: w }).loadStateDict({
        weight: rand([...w.shape]),
      }),
  ],
  [
    "a safetensors file",
    (w) => {
      const folder = temporaryFolder("writers");
      saveSafetensors(join(folder, "w.safetensors"), { weight: rand([...w.shape]) });
      Object.assign(new nn.Linear(1, 1, { bias: false }), { weight: w }).loadStateDict(
        loadSafetensors(join(folder, "w.safetensors")),
      );
    },
  ],
  [
    "Module.to and back",
    (w) =>
      void Object.assign(new nn.Linear(1, 1, { bias: false }), { weight: w })
        .half()
        .float(),
  ],
  ...[
    (p: Tensor[]) => new optim.SGD(p, { lr: 0.5 }),
    (p: Tensor[]) => new optim.SGD(p, { lr: 0.5, momentum: 0.5, fused: true }),
    (p: Tensor[]) => new optim.Adam(p, { lr: 0.5 }),
    (p: Tensor[]) => new optim.Adam(p, { lr: 0.5, fused: true }),
    (p: Tensor[]) => new optim.AdamW(p, { lr: 0.5, fused: true }),
    ...(["adam", "momentum", "lion"] as const).flatMap((f) => [
      (p: Tensor[]) => new LowBitOptimizer(p, f, "dynamic8", { lr: 0.5, min8bitSize: 0 }),
      (p: Tensor[]) => new LowBitOptimizer(p, f, null, { lr: 0.5 }),
    ]),
  ].map((make, i): readonly [string, (w: nn.Parameter) => void] => [
    `optimizer ${i}`,
    (w) => {
      w.grad = rand([...w.shape]).add(1);
      make([w]).step();
      w.grad = null;
    },
  ]),
  [
    "LBFGS",
    (w) => {
      const optimizer = new optim.LBFGS([w], { lr: 0.5, lineSearchFn: "strong_wolfe" });
      optimizer.step(() => {
        optimizer.zeroGrad();
        const loss = w.square().sum();
        loss.backward();
        return loss;
      });
      w.grad = null;
    },
  ],
  [
    "replays of a recorded step",
    (w) => {
      using step = new program.RecordedStep();
      step.record(() => void noGrad(() => w.mul_(2)));
      const { version } = w;
      step.replay();
      assert.ok(w.version > version);
    },
  ],
  [
    "replays of a step that is followed",
    (w) => {
      using step = new program.FollowedStep();
      const other = new nn.Parameter(ones([2]));
      for (let i = 0; i < 3; i++) {
        const { version } = w;
        other.grad = null;
        step.run([], () => {
          noGrad(() => w.mul_(2));
          other.square().sum().backward();
        });
        assert.ok(w.version > version);
      }
      assert.equal(step.steps.replayed, 2);
    },
  ],
];
for (const [name, write] of WAYS_TO_WRITE) {
  test(`${name}: a weight's cached cast is made again after the write`, () => {
    const weight = new nn.Parameter(rand([16, 16]).add(0.5));
    const x = ones([16, 16]);
    using casts = new amp.WeightCasts([weight]);
    const cast = (): Tensor =>
      autocast({ dtype: "bfloat16" }, () => casts.run(() => nn.functional.linear(x, weight)))
        .detach()
        .float();
    const layer = Float8Linear.from(Object.assign(new nn.Linear(16, 16, { bias: false }), { weight }));
    const float8 = (): Tensor => layer.forward(x).detach();
    cast();
    float8();
    const before = [weight.version, weight.dataPtr(), weightsEpoch()];
    const old = weight.detach().clone();
    write(weight);
    assert.ok(!weight.detach().equal(old), "it writes");
    assert.notDeepEqual([weight.version, weight.dataPtr(), weightsEpoch()], before);
    assert.ok(
      cast().equal(
        autocast({ dtype: "bfloat16" }, () => nn.functional.linear(x, weight))
          .detach()
          .float(),
      ),
      "the 16-bit cast",
    );
    assert.ok(
      float8().equal(
        Float8Linear.from(
          Object.assign(new nn.Linear(16, 16, { bias: false }), { weight: new nn.Parameter(weight.detach().clone()) }),
        )
          .forward(x)
          .detach(),
      ),
      "the float8 codes",
    );
  });
}

test("kernels of optimizers, called by themselves, advance the epoch", () => {
  const calls: readonly (readonly [string, (w: Tensor) => unknown])[] = [
    [
      "_fused_sgd_",
      (w) =>
        aten["_fused_sgd_"]?.([w], [like(1)], [], {
          weightDecay: 0,
          momentum: 0,
          lr: 0.5,
          dampening: 0,
          nesterov: false,
          maximize: false,
          isFirstStep: false,
        }),
    ],
    [
      "_fused_adamw_",
      (w) =>
        aten["_fused_adamw_"]?.([w], [like(1)], [like(0)], [like(0)], [], [tensor(1)], {
          lr: 0.5,
          beta1: 0.9,
          beta2: 0.9,
          weightDecay: 0,
          eps: 1e-8,
          amsgrad: false,
          maximize: false,
        }),
    ],
    [
      "nbit::fused_adam_",
      (w) =>
        operators("nbit")["fused_adam_"]?.(
          [w],
          [like(1)],
          [like(0)],
          [like(0)],
          [tensor(1)],
          null,
          0.5,
          0.9,
          0.9,
          0,
          1e-8,
          true,
          false,
          null,
          null,
        ),
    ],
    [
      "_fused_adagrad_",
      (w) =>
        aten["_fused_adagrad_"]?.([w], [like(1)], [like(0)], [tensor(1)], {
          lr: 0.5,
          lrDecay: 0,
          weightDecay: 0,
          eps: 1e-8,
          maximize: false,
        }),
    ],
  ];
  for (const [name, call] of calls) {
    for (const w of [like(3), new nn.Parameter(like(3))]) {
      const before = weightsEpoch();
      call(w);
      // A graph from before the step may still go backward: versions of parameters are left alone, and the epoch tells.
      assert.ok(weightsEpoch() > before && !w.detach().equal(like(3)), name);
    }
  }
});
