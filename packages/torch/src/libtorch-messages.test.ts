import assert from "node:assert/strict";
import { test } from "node:test";
import { readable } from "./libtorch-messages.js";

test("what autocast on a GPU says of the cross entropy of probabilities names nbit's functions", () => {
  const said = readable(
    "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\nMany models use a sigmoid …",
  );
  assert.match(said, /^binaryCrossEntropy and BCELoss are unsafe to autocast: .* use binaryCrossEntropyWithLogits/);
  assert.doesNotMatch(said, /torch\.nn/);
});
