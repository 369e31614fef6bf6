import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";

const { amp, autocast, AutogradFunction, nn, noGrad, ones, optim, scope, tensor, traceOperators } = torch;
type Tensor = torch.Tensor;
type FunctionContext = torch.FunctionContext;

/** How many casts to 16 bits `fn` makes. */
function casts(fn: () => unknown): number {
  return scope(
    () =>
      traceOperators(() => void fn()).events.filter(
        (e) => e.name === "aten::_to_copy" && ["float16", "bfloat16"].includes(e.outputs[0]?.dtype ?? ""),
      ).length,
  );
}
const state = (): string => `${amp.isAutocastEnabled()} ${amp.getAutocastDtype()}`;

test("regions nest: each has its dtype, a disabled one has none, and all are left as they were found", () => {
  const a = ones([2, 2]);
  const seen: string[] = [];
  const note = (): void => void seen.push(`${state()}: ${a.mm(a).dtype}`);
  note();
  autocast({ dtype: "bfloat16" }, () => {
    note();
    autocast({ dtype: "float16" }, () => {
      note();
      autocast({ enabled: false }, () => {
        note();
        autocast({}, note); // the dtype of the region around
      });
      note();
    });
    assert.throws(() => autocast({ dtype: "float16" }, () => assert.fail("inside")), /inside/);
    note();
    autocast({ deviceType: "cuda", dtype: "float16" }, note); // another device's
  });
  note();
  assert.deepEqual(seen, [
    "false bfloat16: float32",
    "true bfloat16: bfloat16",
    "true float16: float16",
    "false float16: float32",
    "true float16: float16",
    "true float16: float16",
    "true bfloat16: bfloat16",
    "true bfloat16: bfloat16",
    "false bfloat16: float32",
  ]);
  assert.equal(amp.isAutocastEnabled("cuda"), false);
});

test("float64, integers and complex numbers are not cast; operators without a rule run as their inputs are", () => {
  autocast({ dtype: "bfloat16" }, () => {
    const wide = ones([2, 2], { dtype: "float64" });
    assert.equal(wide.mm(wide).dtype, "float64");
    const whole = ones([2, 2], { dtype: "int64" });
    assert.equal(whole.mm(whole).dtype, "int64");
    assert.equal(ones([2]).softmax(0).dtype, "float32");
    assert.equal(ones([2], { dtype: "float16" }).softmax(0).dtype, "float16");
    assert.equal(torch.cat([ones([2]), ones([2], { dtype: "bfloat16" })]).dtype, "float32");
    assert.equal(torch.cat([ones([2], { dtype: "bfloat16" }), ones([2], { dtype: "bfloat16" })]).dtype, "bfloat16");
    // libtorch promotes between float32 and the region's dtype only.
    assert.throws(
      () => torch.cat([ones([2], { dtype: "float16" }), ones([2], { dtype: "bfloat16" })]),
      torch.TorchError,
    );
  });
});

test("the cache: a weight used twice is cast once, and its gradient is float32", () => {
  const w = new nn.Parameter(ones([2, 2]));
  const x = ones([2, 2]);
  assert.equal(
    casts(() => autocast({ dtype: "bfloat16", cacheEnabled: true }, () => [x.mm(w), x.mm(w)])),
    3,
  ); // w once, x twice: it wants no gradient
  assert.equal(
    casts(() => autocast({ dtype: "bfloat16", cacheEnabled: false }, () => [x.mm(w), x.mm(w)])),
    4,
  );
  scope(() =>
    autocast({ dtype: "bfloat16", cacheEnabled: true }, () => x.mm(w).add(x.mm(w)))
      .float()
      .sum()
      .backward(),
  );
  assert.equal(w.grad?.dtype, "float32");
  assert.deepEqual(w.grad?.tolist(), [
    [4, 4],
    [4, 4],
  ]);
});

test("nested regions of different dtype do not share casts, in either order", () => {
  const w = new nn.Parameter(
    tensor([
      [1.0009765625, 0],
      [0, 1],
    ]),
  ); // exact in float16, 1 in bfloat16
  for (const [outer, inner] of [
    ["bfloat16", "float16"],
    ["float16", "bfloat16"],
  ] as const) {
    const value = (): string => {
      const y = w.mm(w);
      return `${y.dtype} ${(y.float().select(0, 0).select(0, 0).item() as number) > 1.0009}`;
    };
    const seen: string[] = [];
    autocast({ dtype: outer, cacheEnabled: true }, () => {
      seen.push(value());
      autocast({ dtype: inner, cacheEnabled: true }, () => void seen.push(value()));
      seen.push(value());
    });
    const expected = (dtype: string): string => `${dtype} ${dtype === "float16"}`;
    assert.deepEqual(seen, [outer, inner, outer].map(expected));
  }
});

test("a weight changed inside a region is cast again, however it was changed", () => {
  const w = new nn.Parameter(ones([2, 2]));
  const x = ones([2, 2]);
  const optimizer = new optim.SGD([w], { lr: 1 });
  const fused = new optim.AdamW([w], { lr: 1, fused: true });
  const step = (o: torch.optim.Optimizer) => (): void => {
    w.grad = ones([2, 2]);
    o.step();
    o.zeroGrad();
  };
  const changes: readonly (readonly [string, () => void])[] = [
    ["fill_", () => noGrad(() => void w.fill_(3))],
    [
      "copy_",
      () =>
        noGrad(
          () =>
            void w.copy_(
              tensor([
                [1, 2],
                [3, 4],
              ]),
            ),
        ),
    ],
    ["through detach", () => void w.detach().mul_(2)],
    ["through a view", () => void w.detach().select(0, 0).zero_()],
    ["a list", () => noGrad(() => void torch.aten["_foreach_add_"]?.["Scalar"]?.([w], 5))],
    ["out", () => noGrad(() => void torch.aten["add"]?.["out"]?.(w.detach(), w.detach(), { out: w.detach() }))],
    ["an optimizer", step(optimizer)],
    ["a fused optimizer", step(fused)],
    [
      "setData",
      () =>
        w.setData(
          tensor([
            [7, 8],
            [9, 10],
          ]),
        ),
    ],
  ];
  for (const [name, change] of changes) {
    scope(() =>
      autocast({ dtype: "bfloat16", cacheEnabled: true }, () => {
        x.mm(w);
        change();
        const y = x.mm(w);
        assert.deepEqual(
          y.tolist(),
          autocast({ enabled: false }, () => x.bfloat16().mm(w.detach().bfloat16())).tolist(),
          name,
        );
      }),
    );
  }
});

test("a frozen weight is cast once for all steps with FrozenCasts, until it changes", () => {
  const layer = new nn.Linear(4, 3);
  const norm = new nn.LayerNorm(3);
  for (const p of [...layer.parameters(), ...norm.parameters()]) p.requiresGrad_(false);
  const x = new nn.Parameter(torch.arange(8).float().reshape([2, 4]).div(7));
  const forward = (): Tensor => norm.forward(layer.forward(x).float());
  const region = <T>(fn: () => T): T => autocast({ dtype: "bfloat16", cacheEnabled: true }, fn);
  const plain = region(forward).tolist();
  assert.equal(
    casts(() => region(() => [layer.forward(x), layer.forward(x)])),
    5,
  ); // x once; weight and bias at every use

  const frozen = new amp.FrozenCasts({ parameters: () => [...layer.parameters(), ...norm.parameters()] });
  const kept = (): unknown => region(() => frozen.run(forward)).tolist();
  assert.deepEqual(kept(), plain);
  assert.equal(frozen.bytes, 2 * (12 + 3));
  assert.equal(
    casts(() => region(() => frozen.run(() => [layer.forward(x), layer.forward(x)]))),
    1,
  ); // x
  // Changed in place, replaced, another dtype: cast anew.
  noGrad(() => void layer.weight.mul_(0.5));
  assert.deepEqual(kept(), region(forward).tolist());
  layer.weight.setData(ones([3, 4]));
  assert.deepEqual(kept(), region(forward).tolist());
  assert.deepEqual(
    autocast({ dtype: "float16" }, () => frozen.run(forward)).tolist(),
    autocast({ dtype: "float16" }, forward).tolist(),
  );
  // The gradient goes through; a weight that wants one again gets it.
  scope(() =>
    region(() => frozen.run(forward))
      .square()
      .sum()
      .backward(),
  );
  assert.ok(x.grad !== null && layer.weight.grad === null);
  layer.weight.requiresGrad_(true);
  scope(() =>
    region(() => frozen.run(forward))
      .square()
      .sum()
      .backward(),
  );
  assert.equal(layer.parameters()[0]?.grad?.dtype, "float32");
  frozen.dispose();
  assert.throws(() => frozen.run(forward), { code: "POLICY_DISPOSED" });
  assert.throws(() => new amp.FrozenCasts([3 as never]), {
    code: "ERR_ARGUMENT",
    message: "FrozenCasts: expected a module or tensors. Received: 3.",
  });
});

test("policies made of the same operator outlive each other", () => {
  const a = ones([2, 2]);
  const run = (policy: torch.amp.AutocastPolicy): string =>
    policy.run(() => autocast({ dtype: "bfloat16" }, () => a.mm(a).dtype));
  const first = new amp.AutocastPolicy({ mm: "float32" });
  const second = new amp.AutocastPolicy({ mm: "float32" });
  first.dispose();
  assert.equal(run(second), "float32");
  second.dispose();
  assert.equal(
    autocast({ dtype: "bfloat16" }, () => a.mm(a).dtype),
    "bfloat16",
  );
});

test("where there is no GPU, its table cannot be asked for", { skip: torch.cudaDeviceCount() > 0 }, () => {
  assert.throws(() => amp.policyTable("cuda"), {
    code: "AMP_NO_DEVICE",
    message: /^amp\.policyTable: expected a CUDA device, whose autocast is asked\. Received: none\./,
  });
});

const seen: string[] = [];
class AsAround extends AutogradFunction {
  static forward = amp.customFwd((ctx: FunctionContext, a: Tensor, b: Tensor): Tensor => {
    ctx.saveForBackward(a, b);
    const y = a.mm(b);
    seen.push(`forward ${state()} ${a.dtype} → ${y.dtype}`);
    return y;
  });
  static backward = amp.customBwd((ctx: FunctionContext, g: Tensor): Tensor[] => {
    const ga = g.mm(ctx.saved(1).t());
    seen.push(`backward ${state()} ${g.dtype} → ${ga.dtype}`);
    return [ga, ctx.saved(0).t().mm(g)];
  });
}
class InFloat32 extends AutogradFunction {
  static forward = amp.customFwd(
    (ctx: FunctionContext, xs: Tensor, n: Tensor, wide: Tensor): Tensor => {
      ctx.saveForBackward(xs);
      seen.push(`forward ${amp.isAutocastEnabled()} ${xs.dtype} ${n.dtype} ${wide.dtype}`);
      return xs.mm(xs);
    },
    { castInputs: "float32" },
  );
  static backward = amp.customBwd((ctx: FunctionContext, g: Tensor): Tensor[] => {
    seen.push(`backward ${amp.isAutocastEnabled()} ${g.dtype} ${ctx.saved(0).dtype}`);
    return [g.mm(ctx.saved(0).t()).add(ctx.saved(0).t().mm(g))];
  });
}
const apply = {
  around: (a: Tensor, b: Tensor): Tensor => AsAround.apply(a, b) as Tensor,
  float32: (a: Tensor, n: Tensor, wide: Tensor): Tensor => InFloat32.apply(a, n, wide) as Tensor,
};

test("customFwd and customBwd: backward runs under the autocast of forward, also after the region", () => {
  const a = new nn.Parameter(ones([2, 2]));
  const b = new nn.Parameter(ones([2, 2]));
  for (const dtype of ["float16", "bfloat16"] as const) {
    seen.length = 0;
    const y = autocast({ dtype }, () => apply.around(a, b));
    y.float().sum().backward();
    assert.deepEqual(seen, [`forward true ${dtype} float32 → ${dtype}`, `backward true ${dtype} ${dtype} → ${dtype}`]);
    assert.deepEqual(
      [a.grad?.dtype, a.grad?.tolist()],
      [
        "float32",
        [
          [2, 2],
          [2, 2],
        ],
      ],
    );
    a.grad = null;
    b.grad = null;
  }
  seen.length = 0;
  const y = apply.around(a, b);
  autocast({ dtype: "bfloat16" }, () => y.sum().backward()); // backward inside a region that forward was not in
  assert.deepEqual(
    seen.map((s) => s.replace(/(true|false) \w+/, "$1")),
    ["forward false float32 → float32", "backward false float32 → float32"],
  );
  assert.equal(amp.isAutocastEnabled(), false);
});

test("customFwd with castInputs: inputs cast and autocast off, under autocast only", () => {
  const half = ones([2, 2], { dtype: "bfloat16", requiresGrad: true });
  const n = ones([1], { dtype: "int64" });
  const wide = ones([1], { dtype: "float64" });
  seen.length = 0;
  const y = autocast({ dtype: "bfloat16" }, () => apply.float32(half, n, wide));
  assert.equal(y.dtype, "float32");
  y.sum().backward();
  assert.deepEqual(seen, ["forward false float32 int64 float64", "backward false float32 float32"]);
  assert.deepEqual(
    [half.grad?.dtype, half.grad?.tolist()],
    [
      "bfloat16",
      [
        [4, 4],
        [4, 4],
      ],
    ],
  );
  seen.length = 0;
  assert.equal(apply.float32(half, n, wide).dtype, "bfloat16");
  assert.deepEqual(seen, ["forward false bfloat16 int64 float64"]);
  assert.throws(() => amp.customFwd(() => half, { castInputs: "int64" }), {
    code: "ERR_ARGUMENT",
    message: 'customFwd: expected castInputs to be a floating point dtype. Received: "int64".',
  });
});

class Half extends AutogradFunction {
  static forward(_ctx: FunctionContext, x: Tensor): Tensor {
    return x.mul(2);
  }
  static backward = amp.customBwd((_ctx: FunctionContext, g: Tensor): Tensor => g.mul(2));
}
test("customBwd without customFwd says so", () => {
  const x = new nn.Parameter(ones([2]));
  const y = Half.apply(x) as Tensor;
  assert.throws(() => y.sum().backward(), {
    code: "AMP_CUSTOM_BWD",
    message: /^customBwd: expected a forward wrapped with customFwd\./,
  });
});
