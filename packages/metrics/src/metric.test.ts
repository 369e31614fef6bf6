import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  manualSeed,
  memory,
  nn,
  ones,
  program,
  rand,
  randint,
  randn,
  scope,
  tensor,
  type Tensor,
  zeros,
} from "@nbit/torch";
import {
  Accuracy,
  BinaryAccuracy,
  BinaryAUROC,
  CatMetric,
  functional,
  MeanMetric,
  MeanSquaredError,
  Metric,
  MetricCollection,
  MetricTracker,
  MulticlassAccuracy,
  MulticlassCohenKappa,
  MulticlassConfusionMatrix,
  MulticlassF1Score,
  MulticlassPrecision,
  MulticlassRecall,
  PearsonCorrCoef,
} from "./index.js";

beforeEach(() => void manualSeed(3));
const code = (name: string): { code: string } => ({ code: name });

class Share extends Metric {
  declare hits: Tensor;
  declare total: Tensor;
  declare seen: Tensor[];
  constructor() {
    super();
    this.addState("hits", tensor(0), "sum");
    this.addState("total", tensor(0), "sum", true);
    this.addState("seen", [], "cat");
  }
  update(hit: Tensor): void {
    this.hits = this.hits.add(hit.sum());
    this.total = this.total.add(hit.numel());
    this.seen.push(hit.mul(1));
  }
  compute(): Tensor {
    return this.hits.div(this.total);
  }
}

test("a metric of one's own: states, values of batches, reset", () => {
  scope(() => {
    const share = new Share();
    assert.equal(share.forward(tensor([1, 0, 1, 1])).item(), 0.75);
    assert.equal(share.forward(tensor([0, 0])).item(), 0);
    assert.equal(share.compute().item(), 0.5);
    assert.equal(share.updateCount, 2);
    assert.deepEqual(
      share.seen.map((t) => t.tolist()),
      [
        [1, 0, 1, 1],
        [0, 0],
      ],
    );
    share.reset();
    assert.deepEqual([share.updateCalled, share.hits.item(), share.seen], [false, 0, []]);
    share.update(ones([2]));
    assert.equal(share.compute().item(), 1);
    assert.deepEqual(share.stateNames, ["hits", "total", "seen"]);
  });
});

test("what metrics keep outlives scopes, and is all they keep", () => {
  const kept = scope(() => {
    const metric = new MulticlassConfusionMatrix(3);
    const curve = new BinaryAUROC();
    return { metric, curve };
  });
  const feed = (): void =>
    scope(() => {
      kept.metric.forward(randn([4, 3]), randint(0, 3, [4]));
      kept.curve.update(rand([4]), randint(0, 2, [4]));
    });
  feed();
  const before = memory().unreleased;
  for (let i = 0; i < 5; i++) feed();
  assert.equal(memory().unreleased - before, 10, "two tensors an update of the curve");
  scope(() => {
    assert.equal((kept.metric.compute() as Tensor).sum().item(), 24);
    assert.equal(typeof (kept.curve.compute() as Tensor).item(), "number");
    kept.curve.reset();
  });
  assert.ok(memory().unreleased <= before);
});

test("copies count for themselves; casts of a module leave states alone; states are in no state dict unless asked for", () => {
  scope(() => {
    class Model extends nn.Module {
      readonly layer = new nn.Linear(2, 2);
      readonly share = new Share();
      forward(x: Tensor): Tensor {
        return this.layer.forward(x);
      }
    }
    const model = new Model();
    model.share.update(tensor([1, 0]));
    const copy = model.clone();
    copy.share.update(tensor([1, 1]));
    assert.deepEqual([model.share.compute().item(), copy.share.compute().item()], [0.5, 0.75]);
    model.to("bfloat16");
    assert.deepEqual([model.share.hits.dtype, model.layer.weight.dtype], ["float32", "bfloat16"]);
    model.to("float32");
    assert.deepEqual([...model.stateDict().keys()], ["layer.weight", "layer.bias", "share.total"]);
    model.share.persistent();
    const state = model.stateDict();
    assert.deepEqual([...state.keys()].slice(2), ["share.hits", "share.total", "share.seen"]);
    const fresh = new Model();
    fresh.share.persistent();
    fresh.loadStateDict(state);
    assert.equal(fresh.share.compute().item(), 0.5);
    assert.deepEqual(fresh.share.seen[0]?.tolist(), [1, 0]);
    fresh.share.persistent(false);
    assert.equal(fresh.stateDict().size, 2);
  });
});

test("misuse is named before anything is counted", () => {
  scope(() => {
    for (const make of [
      () => new Accuracy({ task: "multiclass" }),
      () => new Accuracy("multilabel"),
      () => new MulticlassAccuracy(1),
      () => new MulticlassAccuracy({ numClasses: 3, num_classes: 3 } as never),
      () => new MulticlassAccuracy(3, 1, "mean" as never),
      () => new BinaryAccuracy(2),
      () => new MeanMetric("maybe" as never),
      () => new MeanSquaredError(true, 1, 5 as never),
    ])
      assert.throws(make, code("ERR_ARGUMENT"));
    const metric = new MulticlassAccuracy(3);
    assert.throws(() => metric.update(zeros([2, 4]), zeros([2], { dtype: "int64" })), /scores of 3 classes/);
    assert.throws(() => metric.update(zeros([2, 3]), zeros([2])), /whole numbers or booleans/);
    assert.throws(() => metric.update(zeros([2, 3]), zeros([3], { dtype: "int64" })), code("ERR_ARGUMENT"));
    assert.throws(() => metric.update(zeros([2, 3]), tensor([1, 3], { dtype: "int64" })), code("ERR_METRIC_TARGET"));
    assert.throws(() => metric.forward(zeros([2, 3]), tensor([-1, 1], { dtype: "int64" })), /0 to 2/);
    assert.equal(metric.updateCount, 0);
    assert.throws(() => new BinaryAUROC().compute(), code("ERR_METRIC_EMPTY"));
    assert.throws(() => new MulticlassCohenKappa(3).update(zeros([2]), zeros([2])), code("ERR_ARGUMENT"));
    assert.throws(() => new MeanMetric("error").update(NaN), code("ERR_METRIC_NAN"));
    const share = new Share();
    assert.throws(() => share.addState("hits", tensor(0)), code("ERR_ARGUMENT"));
    assert.throws(() => share.addState("more", 0 as never), code("ERR_ARGUMENT"));
    assert.throws(() => ((share as { hits: unknown }).hits = 3), code("ERR_ARGUMENT"));
  });
});

test("collections: names, groups that are counted once, copies with other names", () => {
  scope(() => {
    const metrics = new MetricCollection(
      {
        precision: new MulticlassPrecision(3),
        recall: new MulticlassRecall(3),
        f1: new MulticlassF1Score(3, { average: "micro" }),
      },
      { prefix: "val_", postfix: "_epoch" },
    );
    let updates = 0;
    for (const metric of metrics.values()) {
      const { update } = metric;
      Object.defineProperty(metric, "update", {
        value(this: Metric, ...args: unknown[]) {
          updates++;
          Reflect.apply(update, this, args);
        },
      });
    }
    const preds = randn([12, 3]);
    const target = randint(0, 3, [12]);
    metrics.update(preds, target);
    assert.equal(updates, 2, "precision and recall count the same");
    const values = metrics.compute();
    assert.deepEqual(Object.keys(values), ["val_precision_epoch", "val_recall_epoch", "val_f1_epoch"]);
    const alone = new MulticlassRecall(3);
    alone.update(preds, target);
    assert.equal((values["val_recall_epoch"] as Tensor).item(), alone.compute().item());
    assert.deepEqual(Object.keys(metrics.clone("test_", "").compute()), ["test_precision", "test_recall", "test_f1"]);
    metrics.reset();
    assert.ok(metrics.values().every((metric) => !metric.updateCalled));
    assert.throws(() => new MetricCollection([new MeanMetric(), new MeanMetric()]), /different names/);
    assert.throws(() => new MetricCollection({ a: 1 as never }), code("ERR_ARGUMENT"));
    assert.throws(() => new MetricCollection([], { computeGroups: [["nobody"]] }), /nobody/);
    assert.deepEqual(new MetricCollection([new MeanMetric(), new CatMetric()]).keys(), ["MeanMetric", "CatMetric"]);
  });
});

test("a tracker knows every epoch and the best of them", () => {
  scope(() => {
    const tracker = new MetricTracker(new BinaryAccuracy());
    assert.throws(() => tracker.update(rand([2]), ones([2])), code("ERR_METRIC_EMPTY"));
    for (const share of [0.5, 1, 0.75]) {
      tracker.increment();
      const right = Math.round(share * 4);
      tracker.update(tensor([0, 1, 2, 3]).lt(right).to("float32"), ones([4], { dtype: "int64" }));
    }
    assert.deepEqual((tracker.computeAll() as Tensor).tolist(), [0.5, 1, 0.75]);
    assert.deepEqual(tracker.bestMetric(), { value: 1, step: 1 });
  });
});

test("a function is a metric of one batch", () => {
  scope(() => {
    const preds = tensor([0, 1, 2, 1], { dtype: "int64" });
    const target = tensor([0, 1, 1, 1], { dtype: "int64" });
    assert.equal(functional.accuracy(preds, target, { task: "multiclass", numClasses: 3 }).item(), 0.75);
    assert.equal(functional.multiclassRecall(preds, target, 3, { average: "micro" }).item(), 0.75);
    assert.equal(functional.meanSquaredError(tensor([1, 2]), tensor([1, 4])).item(), 2);
    assert.equal(functional.wordErrorRate("a b c", "a x c").item(), Math.fround(1 / 3));
  });
});

test("moments of parts are those of the whole, in whatever batches", () => {
  scope(() => {
    const x = randn([50]).mul(3).add(100);
    const y = x.mul(0.2).add(randn([50]));
    const whole = new PearsonCorrCoef();
    whole.update(x, y);
    const parts = new PearsonCorrCoef();
    for (const [from, n] of [
      [0, 1],
      [1, 30],
      [31, 19],
    ] as const)
      parts.forward(x.narrow(0, from, n), y.narrow(0, from, n));
    assert.ok(Math.abs(whole.compute().item() - parts.compute().item()) < 1e-4);
  });
});

test("a step that is recorded says that a metric counts in it, and is not replayed", () => {
  scope(() => {
    const metric = new MeanSquaredError();
    const x = randn([4]);
    const step = new program.RecordedStep({ inputs: { x } });
    step.record(() => {
      metric.update(x, x.mul(2));
    });
    assert.match(step.refusal ?? "", /MeanSquaredError counts in JavaScript what it takes in/);
    const plain = new program.RecordedStep({ inputs: { x } });
    plain.record(() => ({ y: x.mul(2) }));
    assert.equal(plain.refusal, null);
  });
});
