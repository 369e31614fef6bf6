import assert from "node:assert/strict";
import { after, test } from "node:test";
import { amp as native, aten, isTensor, nn, ones, randn, scope, setNumThreads, tensor, type Tensor } from "@nbit/torch";
import {
  disableCasts,
  floatFunction,
  halfFunction,
  initialize,
  o1Rules,
  promoteFunction,
  registerFloatFunction,
  registerHalfFunction,
  registerPromoteFunction,
} from "./index.js";

setNumThreads(1); // tiny tensors

const net = new nn.Linear(2, 2);
const o1 = initialize(net, [], { optLevel: "O1" });
after(() => o1.dispose());

/** The dtype that an operator returns under O1: of its first tensor. */
function under(name: string, args: () => readonly unknown[]): string {
  return scope(() => {
    const made = args();
    const out: unknown = o1.run(() => aten[name]?.(...made));
    const first: unknown = Array.isArray(out) ? out[0] : out;
    return isTensor(first) ? first.dtype : String(first);
  });
}
const f = (...shape: number[]): Tensor => ones(shape);
const h = (...shape: number[]): Tensor => ones(shape, { dtype: "float16" });
const labels = (...values: number[]): Tensor => tensor(values, { dtype: "int64" });

/** Matrix products and what is built of them: float32 comes in, float16 goes out. */
const HALF: Record<string, () => readonly unknown[]> = {
  conv1d: () => [f(1, 2, 8), f(3, 2, 3)],
  conv2d: () => [f(1, 2, 8, 8), f(3, 2, 3, 3)],
  conv3d: () => [f(1, 2, 4, 4, 4), f(3, 2, 3, 3, 3)],
  conv_transpose1d: () => [f(1, 2, 8), f(2, 3, 3)],
  conv_transpose2d: () => [f(1, 2, 8, 8), f(2, 3, 3, 3)],
  conv_transpose3d: () => [f(1, 2, 4, 4, 4), f(2, 3, 3, 3, 3)],
  conv_tbc: () => [f(8, 1, 2), f(3, 2, 3), f(3)],
  prelu: () => [f(2, 2), f(1)],
  addmm: () => [f(2, 2), f(2, 2), f(2, 2)],
  addmv: () => [f(2), f(2, 2), f(2)],
  addr: () => [f(2, 2), f(2), f(2)],
  matmul: () => [f(2, 2), f(2, 2)],
  mm: () => [f(2, 2), f(2, 2)],
  mv: () => [f(2, 2), f(2)],
  linear: () => [f(2, 2), f(2, 2)],
  addbmm: () => [f(2, 2), f(3, 2, 2), f(3, 2, 2)],
  baddbmm: () => [f(3, 2, 2), f(3, 2, 2), f(3, 2, 2)],
  bmm: () => [f(3, 2, 2), f(3, 2, 2)],
  lstm_cell: () => [f(1, 2), [f(1, 2), f(1, 2)], f(8, 2), f(8, 2)],
  gru_cell: () => [f(1, 2), f(1, 2), f(6, 2), f(6, 2)],
  rnn_tanh_cell: () => [f(1, 2), f(1, 2), f(2, 2), f(2, 2)],
  rnn_relu_cell: () => [f(1, 2), f(1, 2), f(2, 2), f(2, 2)],
};

const unary = (): readonly unknown[] => [h(2, 2).mul(0.5)];
const loss = (): readonly unknown[] => [h(2, 2), h(2, 2)];
/** What needs the range or the digits: float16 comes in, float32 goes out. */
const FLOAT: Record<string, () => readonly unknown[]> = {
  ...Object.fromEntries(
    [
      "acos",
      "asin",
      "cosh",
      "erfinv",
      "exp",
      "expm1",
      "log",
      "log10",
      "log2",
      "reciprocal",
      "rsqrt",
      "sinh",
      "tan",
      "norm",
      "prod",
      "std",
      "sum",
      "var",
      "softplus",
      "gelu",
      "linalg_vector_norm",
    ].map((n) => [n, unary]),
  ),
  pow: () => [h(2, 2), 2],
  cumprod: () => [h(2, 2), 0],
  cumsum: () => [h(2, 2), 0],
  dist: loss,
  renorm: () => [h(2, 2), 2, 0, 1],
  softmax: () => [h(2, 2), 1],
  log_softmax: () => [h(2, 2), 1],
  layer_norm: () => [h(2, 2), [2]],
  group_norm: () => [h(2, 2), 1],
  batch_norm: () => [h(2, 2), h(2), h(2), h(2), h(2), true, 0.1, 1e-5, false],
  instance_norm: () => [h(2, 2, 2), null, null, null, null, true, 0.1, 1e-5, false],
  rms_norm: () => [h(2, 2), [2]],
  cosine_similarity: loss,
  upsample_nearest1d: () => [h(1, 1, 2), [4]],
  upsample_nearest2d: () => [h(1, 1, 2, 2), [4, 4]],
  upsample_nearest3d: () => [h(1, 1, 2, 2, 2), [4, 4, 4]],
  _upsample_nearest_exact2d: () => [h(1, 1, 2, 2), [4, 4]],
  upsample_linear1d: () => [h(1, 1, 2), [4], false],
  upsample_bilinear2d: () => [h(1, 1, 2, 2), [4, 4], false],
  upsample_bicubic2d: () => [h(1, 1, 2, 2), [4, 4], false],
  upsample_trilinear3d: () => [h(1, 1, 2, 2, 2), [4, 4, 4], false],
  grid_sampler: () => [h(1, 1, 2, 2), h(1, 2, 2, 2), 0, 0, false],
  poisson_nll_loss: () => [h(2, 2), h(2, 2), true, false, 1e-8, 1],
  cosine_embedding_loss: () => [h(2, 2), h(2, 2), h(2)],
  cross_entropy_loss: () => [h(2, 2), labels(0, 1)],
  hinge_embedding_loss: loss,
  kl_div: loss,
  l1_loss: loss,
  mse_loss: loss,
  smooth_l1_loss: loss,
  huber_loss: loss,
  soft_margin_loss: loss,
  margin_ranking_loss: () => [h(2), h(2), h(2)],
  multilabel_margin_loss: () => [
    h(2, 2),
    tensor(
      [
        [0, -1],
        [1, -1],
      ],
      { dtype: "int64" },
    ),
  ],
  multi_margin_loss: () => [h(2, 2), labels(0, 1)],
  nll_loss: () => [h(2, 2), labels(0, 1)],
  nll_loss2d: () => [
    h(1, 2, 2, 2),
    tensor(
      [
        [
          [0, 1],
          [1, 0],
        ],
      ],
      { dtype: "int64" },
    ),
  ],
  binary_cross_entropy_with_logits: loss,
  triplet_margin_loss: () => [h(2, 2), h(2, 2), h(2, 2).mul(2)],
  ctc_loss: () => [h(4, 1, 3).logSoftmax(2), labels(1), labels(4), labels(1)],
};

/** Float16 meets float32: the widest. */
const PROMOTE: Record<string, () => readonly unknown[]> = {
  ...Object.fromEntries(["atan2", "add", "sub", "rsub", "div", "mul"].map((n) => [n, () => [h(2, 2), f(2, 2)]])),
  addcdiv: () => [h(2), f(2), h(2)],
  addcmul: () => [h(2), f(2), h(2)],
  dot: () => [h(2), f(2)],
  cross: () => [h(2, 3), f(2, 3)],
  bilinear: () => [h(2, 2), f(2, 2), h(3, 2, 2)],
  cat: () => [[h(2), f(2)]],
  stack: () => [[h(2), f(2)]],
};
const COMPARE = ["eq", "ge", "gt", "le", "lt", "ne"];

/** In no list: as their inputs are, also where native autocast has a rule. */
const AS_IS: Record<string, () => readonly unknown[]> = {
  ...Object.fromEntries(["tanh", "sigmoid", "relu", "sin", "cos", "sqrt", "abs", "mean"].map((n) => [n, unary])),
  avg_pool2d: () => [h(1, 1, 4, 4), [2]],
  max_pool2d: () => [h(1, 1, 4, 4), [2]],
};

for (const [name, args] of Object.entries(HALF))
  test(`O1: ${name} in float16`, () => assert.equal(under(name, args), "float16"));
for (const [name, args] of Object.entries(FLOAT))
  test(`O1: ${name} in float32`, () => assert.equal(under(name, args), "float32"));
for (const [name, args] of Object.entries(PROMOTE))
  test(`O1: ${name} in the widest dtype`, () => assert.equal(under(name, args), "float32"));
for (const [name, args] of Object.entries(AS_IS))
  test(`O1: ${name} as it comes`, () => assert.equal(under(name, args), "float16"));
for (const name of COMPARE)
  test(`O1: ${name} compares float16 with float32`, () =>
    assert.equal(
      under(name, () => [h(2), f(2)]),
      "bool",
    ));
test("O1: equal compares float16 with float32", () =>
  assert.equal(
    under("equal", () => [h(2), f(2)]),
    "true",
  ));

test("O1: banned in float16: binary cross entropy, and float32 functions in place", () => {
  assert.throws(() => under("binary_cross_entropy", loss), { code: "AMP_BANNED" });
  assert.equal(
    under("binary_cross_entropy", () => [f(2).mul(0.5), f(2)]),
    "float32",
  );
  for (const name of ["exp_", "log_", "pow_", "rsqrt_", "cumsum_", "reciprocal_", "tan_"]) {
    const extra = name === "pow_" ? [2] : name === "cumsum_" ? [0] : [];
    assert.throws(() => under(name, () => [h(2), ...extra]), { code: "AMP_BANNED" }, name);
    assert.equal(
      under(name, () => [f(2), ...extra]),
      "float32",
    );
  }
});

test("every operator of O1's lists is tried above", () => {
  const tried = new Set([...Object.keys(HALF), ...Object.keys(FLOAT), ...Object.keys(PROMOTE), ...COMPARE, "equal"]);
  // Sequences need packed weights; the rest are the same kernels in other shapes.
  const others = new Set([
    "lstm",
    "gru",
    "rnn_tanh",
    "rnn_relu",
    "nll_loss_nd",
    "_upsample_nearest_exact1d",
    "_upsample_nearest_exact3d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
  ]);
  const missing = [...o1Rules("cpu")]
    .filter(([name, rule]) => rule !== "none" && rule !== "banned16" && !tried.has(name) && !others.has(name))
    .map(([name]) => name);
  assert.deepEqual(missing, []);
});

test("O1 differs from native autocast where APEX does", () => {
  const own = o1Rules("cpu");
  const table = native.policyTable("cpu");
  assert.equal(own.get("softmax"), "float32");
  assert.equal(table.get("softmax") ?? "none", "none");
  assert.equal(own.get("prelu"), "lower");
  assert.equal(own.get("mish") ?? "none", "none");
});

test("halfFunction, floatFunction and promoteFunction cast the arguments of the user's functions", () => {
  const half = halfFunction((x: Tensor, rest: { y: Tensor }) => [x.dtype, rest.y.dtype]);
  const full = floatFunction((x: Tensor) => x.dtype);
  const widest = promoteFunction((x: Tensor, ys: Tensor[]) => [x.dtype, ...ys.map((y) => y.dtype)]);
  scope(() => {
    assert.deepEqual(half(f(2), { y: f(2) }), ["float32", "float32"], "outside O1 nothing is cast");
    assert.deepEqual(
      o1.run(() => half(f(2), { y: f(2) })),
      ["float16", "float16"],
    );
    assert.equal(
      o1.run(() => full(h(2))),
      "float32",
    );
    assert.deepEqual(
      o1.run(() => widest(h(2), [f(2), labels(1)])),
      ["float32", "float32", "int64"],
    );
    assert.deepEqual(
      o1.run(() => o1.disableCasts(() => [full(h(2)), f(2, 2).mm(f(2, 2)).dtype])),
      ["float16", "float32"],
    );
    assert.equal(
      o1.run(() => disableCasts(() => h(2, 2).softmax(0).dtype)),
      "float16",
    );
    assert.throws(() => o1.run(() => half(f(2), { y: null as unknown as Tensor })), TypeError);
    assert.deepEqual(half(f(2), { y: f(2) }), ["float32", "float32"], "an exception leaves nothing behind");
  });
});

test("registered operators apply to models initialized later; a late registration warns", async () => {
  const warnings: string[] = [];
  const listen = (w: Error & { code?: string }): void =>
    void (w.code === "WARN_APEX_REGISTERED_LATE" && warnings.push(w.message));
  process.on("warning", listen);
  registerHalfFunction("cos");
  registerFloatFunction("sin");
  registerPromoteFunction("maximum");
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", listen);
  assert.deepEqual(
    warnings[0],
    'registerHalfFunction("cos"): models that were initialized with O1 before do not see it. Call it before initialize.',
  );
  assert.equal(warnings.length, 3);
  assert.equal(
    o1.run(() => randn([2]).cos().dtype),
    "float32",
  );

  const later = initialize(new nn.Linear(2, 2), [], { optLevel: "O1" });
  assert.equal(
    later.run(() => randn([2]).cos().dtype),
    "float16",
  );
  assert.equal(
    later.run(() => h(2).sin().dtype),
    "float32",
  );
  assert.equal(
    later.run(() => h(2).maximum(f(2)).dtype),
    "float32",
  );
  registerFloatFunction("cos"); // the last one counts
  assert.equal(o1Rules().get("cos"), "float32");
  later.dispose();
  assert.throws(
    () => registerHalfFunction("no_such"),
    /^ArgumentError: registerHalfFunction: expected the name of an operator, such as "einsum"\. Received: "no_such"\. For functions of your own use halfFunction, floatFunction or promoteFunction\.$/,
  );
});
