import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "../index.js";
import { distributions as d, tensor, type Tensor } from "../index.js";

test("arguments by position, by name, and mixed are the same call", () => {
  for (const n of [new d.Normal(1, 2), new d.Normal(1, { scale: 2 }), new d.Normal({ loc: 1, scale: 2 })]) {
    assert.equal(n.toString(), "Normal(loc: 1, scale: 2)");
    assert.deepEqual([n.batchShape, n.eventShape], [[], []]);
  }
  assert.deepEqual(new d.StudentT(3, { scale: tensor([1, 2]) }).batchShape, [2]);
  assert.deepEqual(new d.Normal(0, 1).sample({ sampleShape: [2, 3] }).shape, [2, 3]);
  assert.deepEqual(new d.Bernoulli(null, tensor([0, 1])).probs.at(0).item(), 0.5);
  assert.deepEqual(new d.AffineTransform({ loc: 1, scale: 2 }).call(tensor([3])).tolist(), [7]);
  assert.equal(
    d.constraints.interval({ lowerBound: 0, upperBound: 2 }).toString(),
    "Interval(lowerBound=0, upperBound=2)",
  );
});

test("wrong parameters, values and arguments are told before anything is computed", () => {
  const messages: readonly (readonly [() => unknown, string])[] = [
    [() => new d.Normal(0, -1), "Normal: expected scale to satisfy GreaterThan(lowerBound=0). Received: -1."],
    [
      () => new d.Categorical(tensor([NaN, 1])),
      "Categorical: expected probs to satisfy Simplex(). Received: values of shape [2] that do not.",
    ],
    [
      () => new d.Categorical(tensor(1)),
      "Categorical: expected probs to have at least one dimension. Received: Tensor float32 [] cpu.",
    ],
    [() => new d.Bernoulli(), "Bernoulli: expected one of probs, logits. Received: null."],
    [() => new d.Bernoulli(0.5, 0), 'Bernoulli: expected one of probs, logits. Received: ["probs", "logits"].'],
    [
      () => new d.Normal(0, 1).logProb(tensor([NaN])),
      "Normal.logProb: expected value to lie in the support Real(). Received: NaN.",
    ],
    [
      () => new d.Normal(tensor([0, 0, 0]), 1).logProb(tensor([1, 2])),
      "Normal.logProb: expected value to broadcast with [3]. Received: Tensor float32 [2] cpu.",
    ],
    [
      () => new d.Dirichlet(tensor([1, 1, 1])).logProb(tensor([0.5, 0.5])),
      "Dirichlet.logProb: expected value to end with the event shape [3]. Received: Tensor float32 [2] cpu.",
    ],
    [
      () =>
        new d.MultivariateNormal(
          tensor([0, 0]),
          tensor([
            [1, 2],
            [2, 1],
          ]),
        ),
      "MultivariateNormal: expected covarianceMatrix to satisfy PositiveDefinite(). Received: values of shape [2, 2] that do not.",
    ],
    [
      () => new d.Independent(new d.Normal(0, 1), 1),
      "Independent: expected reinterpretedBatchNdims to be at most 0, the batch dimensions that there are. Received: 1.",
    ],
    [
      () => new d.MixtureSameFamily(new d.Categorical(tensor([1, 1])), new d.Normal(tensor([0, 0, 0]), 1)),
      "MixtureSameFamily: expected componentDistribution to have a last batch dimension of 2, the mixture's components. Received: [3].",
    ],
    [() => new d.LKJCholesky(1), "LKJCholesky: expected dim to be a whole number ≥ 2. Received: 1."],
    [() => new d.ExpTransform(2), "ExpTransform: expected cacheSize to be one of 0, 1. Received: 2."],
    [
      () => torch.broadcastShapes([2], [3]),
      "broadcastShapes: expected sizes that are equal or 1 at dimension -1. Received: [2, 3].",
    ],
  ];
  for (const [fn, message] of messages) assert.throws(fn, { code: "ERR_ARGUMENT", message });
  // @ts-expect-error an option that is not there
  assert.throws(() => new d.Normal(0, 1, { foo: 1 }), /Received: "foo"/);
  // @ts-expect-error one argument too many
  assert.throws(() => new d.Normal(0, 1).logProb(tensor([1]), 2), /at most 1 argument/);
  assert.throws(() => new d.Poisson(1).icdf(tensor([0.5])), { code: "ERR_NOT_IMPLEMENTED" });
  assert.throws(() => new d.Categorical(tensor([1, 1])).rsample(), { code: "ERR_NOT_IMPLEMENTED" });
});

test("validation can be left out, for one distribution and for all", () => {
  assert.equal(new d.Normal(0, -1, false).scale.item(), -1);
  d.Distribution.setDefaultValidateArgs(false);
  try {
    assert.equal(new d.Normal(0, -1).validatesArgs, false);
  } finally {
    d.Distribution.setDefaultValidateArgs(true);
  }
  assert.throws(() => new d.Normal(0, -1));
});

test("what follows from a parameter is computed once, and again when its scope has ended", () => {
  const bernoulli = new d.Bernoulli({ logits: tensor([0.5]) });
  assert.equal(bernoulli.probs, bernoulli.probs);
  const other = new d.Bernoulli({ logits: tensor([0.5]) });
  torch.scope(() => void other.probs);
  assert.deepEqual(other.probs.tolist(), bernoulli.probs.tolist());
});

test("a distribution that a scope returns keeps its tensors, whatever it is made of", () => {
  const mixture = torch.scope(
    () =>
      new d.MixtureSameFamily(
        new d.Categorical({ logits: tensor([0.1, 0.2]) }),
        new d.Independent(new d.Normal(torch.zeros([2, 3]), torch.ones([2, 3])), 1),
      ),
  );
  assert.deepEqual(mixture.sample([4]).shape, [4, 3]);
  const transformed = torch.scope(() => new d.Gumbel(tensor([1, 2]), tensor([1, 2])));
  assert.deepEqual(transformed.expand([3, 2]).sample().shape, [3, 2]);
});

test("a subclass of one's own samples, expands, and has a divergence", () => {
  class Spike extends d.Distribution {
    readonly at: Tensor;
    constructor(at: Tensor) {
      super(at.shape);
      this.at = at;
      this.checkParameters();
    }
    override get argConstraints(): Readonly<Record<string, d.constraints.Constraint>> {
      return { at: d.constraints.real };
    }
    override get support(): d.constraints.Constraint {
      return d.constraints.real;
    }
    override rsample(): Tensor {
      return this.at.clone();
    }
    protected override expanded(shape: d.Shape): object {
      return { at: this.at.expand(shape) };
    }
  }
  const spike = new Spike(tensor([3], { requiresGrad: true }));
  assert.equal(spike.sample().requiresGrad, false);
  assert.deepEqual(spike.expand([2]).sample().tolist(), [3, 3]);
  assert.throws(() => new Spike(tensor([NaN])), /Spike: expected at to satisfy Real/);
  assert.throws(() => d.klDivergence(spike, spike), {
    code: "ERR_NOT_IMPLEMENTED",
    message: /registerKl\(Spike, Spike/,
  });
  d.registerKl(Spike, Spike)((p, q) => p.at.sub(q.at));
  assert.equal(d.klDivergence(spike, new Spike(tensor([1]))).item(), 2);
  class Wide extends d.Normal {}
  assert.equal(d.klDivergence(new Wide(0, 1), new d.Normal(0, 1)).item(), 0);
  d.registerKl(Wide, d.Normal, () => tensor(7));
  assert.equal(d.klDivergence(new Wide(0, 1), new d.Normal(0, 1)).item(), 7);
});

test("registries take constraints, their classes, and what makes them", () => {
  class Even extends d.constraints.Constraint {
    override check(value: Tensor): Tensor {
      return value.remainder(2).eq(0);
    }
  }
  assert.throws(() => d.transformTo(new Even()), { code: "ERR_NOT_IMPLEMENTED" });
  d.transformTo.register(Even, () => new d.AffineTransform(0, 2));
  assert.deepEqual(
    d
      .transformTo(new Even())
      .call(tensor([3]))
      .tolist(),
    [6],
  );
  d.bijectTo.register(new Even())(() => d.identityTransform);
  assert.equal(d.bijectTo(new Even()), d.identityTransform);
});

test("a cached transform gives back what it was given", () => {
  const t = new d.ExpTransform({ cacheSize: 1 });
  const x = tensor([1e-4]);
  const y = t.call(x);
  assert.equal(t.inv.call(y), x);
  assert.equal(t.inv.inv, t);
  assert.ok(new d.ExpTransform().equals(new d.ExpTransform()));
  assert.equal(new d.SigmoidTransform().inv.sign, 1);
});

test("nothing is left when a scope of samples and probabilities has ended", () => {
  const before = torch.memory().unreleased;
  torch.scope(() => {
    const beta = new d.Beta(tensor([1, 2], { requiresGrad: true }), 3);
    for (let i = 0; i < 5; i++) {
      const x = beta.rsample([10]);
      beta.logProb(x.detach()).sum().backward();
      d.klDivergence(beta, new d.Uniform(0, 1)).sum().backward();
    }
  });
  assert.equal(torch.memory().unreleased, before);
});
