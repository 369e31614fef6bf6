import assert from "node:assert/strict";
import { test } from "node:test";
import { nn, optim, tensor, zeros } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { summarize } from "./model-summary.js";

class Net extends nn.Module {
  features = new nn.Sequential(new nn.Conv2d(1, 4, 3), new nn.BatchNorm2d(4));
  head = new nn.Linear(4, 2);
  scale = new nn.Parameter(tensor([1, 2, 3]));
  override forward(x: Tensor): Tensor {
    return this.head.forward(this.features.forward(x).mean([2, 3]));
  }
}

/** Uses the weight of another layer. */
class Tied extends nn.Module {
  readonly weight: nn.Parameter;
  constructor(layer: nn.Linear) {
    super();
    this.weight = layer.weight;
  }
  override forward(x: Tensor): Tensor {
    return x.matmul(this.weight.t());
  }
}

test("the summary has layers to a depth, totals and the forecast", () => {
  const net = new Net();
  net.head.requiresGrad_(false);
  const optimizers = [new optim.AdamW(net.parameters(), { lr: 1e-3 })];
  const summary = summarize(net, { optimizers });
  assert.deepEqual(
    summary.layers.map((l) => [l.name, l.type, l.parameters, l.trainable, l.bytes]),
    [
      ["", "–", 3, 3, 12],
      ["features", "Sequential", 48, 48, 192],
      ["head", "Linear", 10, 0, 40],
    ],
  );
  assert.deepEqual([summary.trainable, summary.nonTrainable, summary.parameters, summary.bytes], [51, 10, 61, 244]);
  // running mean and variance in float32, the count of batches in int64
  assert.equal(summary.bufferBytes, 4 * 4 * 2 + 8);
  assert.equal(summary.forecast?.gradients, 51 * 4);
  assert.equal(summary.forecast?.optimizerState, 51 * 4 * 2);
  assert.deepEqual(
    summary
      .toString()
      .split("\n")
      .map((line) => line.trimEnd()),
    [
      " name       type         parameters   dtype     bytes",
      "───────────────────────────────────────────────────────────────",
      " (own)      –                     3   float32    12 B",
      " features   Sequential           48   float32   192 B",
      " head       Linear               10   float32    40 B   frozen",
      " 51 trainable, 10 non-trainable parameters",
      " 896 B in training (parameters 244 B, buffers 40 B, gradients 204 B, optimizer state 408 B; activations come on top)",
    ],
  );
});

test("maxDepth shows deeper levels, or none", () => {
  const net = new Net();
  assert.deepEqual(
    summarize(net, { maxDepth: -1 }).layers.map((l) => l.name),
    ["", "features", "features.0", "features.1", "head"],
  );
  assert.deepEqual(
    summarize(net, { maxDepth: 0 }).layers.map((l) => l.name),
    [""],
  );
  assert.equal(summarize(net).forecast, null);
  assert.throws(() => summarize(net, { maxDepth: -2 }), {
    message: "summarize: expected maxDepth to be a whole number ≥ -1. Received: -2.",
  });
});

test("a parameter that is used twice counts once in the totals", () => {
  const layer = new nn.Linear(3, 3, { bias: false });
  const summary = summarize(new nn.Sequential(layer, new Tied(layer)));
  assert.deepEqual([summary.parameters, summary.bytes], [9, 36]);
  assert.deepEqual(
    summary.layers.map((l) => l.parameters),
    [9, 9],
  );
});

test("an example input shows what goes in and out of each layer", () => {
  class Unused extends Net {
    unused = new nn.Linear(1, 1);
    exampleInputArray = zeros([2, 1, 5, 5]);
  }
  const net = new Unused();
  const { layers } = summarize(net, { maxDepth: 2 });
  assert.deepEqual(
    layers.map((l) => [l.name, l.inSize, l.outSize]),
    [
      ["", null, null],
      ["features", "[2, 1, 5, 5]", "[2, 4, 3, 3]"],
      ["features.0", "[2, 1, 5, 5]", "[2, 4, 3, 3]"],
      ["features.1", "[2, 4, 3, 3]", "[2, 4, 3, 3]"],
      ["head", "[2, 4]", "[2, 2]"],
      ["unused", "?", "?"],
    ],
  );
  assert.match(String(summarize(net)), / in +out/);
  assert.equal(net.training, true);
  assert.equal(summarize(new Net()).layers[1]?.inSize, null);
});
