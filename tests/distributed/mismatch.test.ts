/** Ranks that ask for different things: an error on each of them, and the group serves on. */
import assert from "node:assert/strict";
import { DistributedError, empty, full, nn, ones, type Tensor } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";

/** Both ranks get an error that quotes what both were about to do, at step 3. */
function differ(run: () => unknown, zero: string, one: string): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof DistributedError, String(error));
    assert.equal(error.code, "ERR_DIST_MISMATCH");
    assert.match(error.message, new RegExp(`^rank ${dist.getRank()} at step 3,`));
    assert.ok(error.message.includes(`rank 0 ${zero}`), error.message);
    assert.ok(error.message.includes(`rank 1 ${one}`), error.message);
    return true;
  });
  const t = ones([2]);
  dist.allReduce(t);
  assert.deepEqual(t.tolist(), [2, 2]);
}

const cases: Record<string, RankCase> = {
  "another shape": (rank) => {
    dist.setStep(3);
    const t = ones([rank === 0 ? 4 : 5]);
    differ(() => dist.allReduce(t), "all_reduce(float32[4], sum)", "all_reduce(float32[5], sum)");
    differ(() => dist.allGather(t), "all_gather(float32[4])", "all_gather(float32[5])");
  },
  "another dtype": (rank) => {
    const t = ones([4], { dtype: rank === 0 ? "float32" : "float64" });
    differ(() => dist.allReduce(t), "all_reduce(float32[4], sum)", "all_reduce(float64[4], sum)");
  },
  "another reduction": (rank) => {
    const op = rank === 0 ? "min" : "max";
    differ(() => dist.allReduce(ones([4]), { op }), "all_reduce(float32[4], min)", "all_reduce(float32[4], max)");
  },
  "another root": (rank) => {
    differ(
      () => dist.broadcast(ones([4]), { src: rank }),
      "broadcast(float32[4], from rank 0)",
      "broadcast(float32[4], from rank 1)",
    );
  },
  "another collective": (rank) => {
    differ(
      () => {
        if (rank === 0) dist.barrier();
        else dist.allReduce(ones([1]));
      },
      "barrier()",
      "all_reduce(float32[1], sum)",
    );
  },
  "another order, without waiting": (rank) => {
    const [a, b] = [ones([1]), ones([2])];
    const begin = (t: Tensor): unknown => dist.allReduce(t, { asyncOp: true });
    differ(() => begin(rank === 0 ? a : b), "all_reduce(float32[1], sum)", "all_reduce(float32[2], sum)");
  },
  "other shapes among many": (rank) => {
    const many = Array.from({ length: 40 }, (_, i) => empty([rank === 1 && i === 30 ? 4 : 3]));
    differ(
      () => {
        dist.broadcastCoalesced(many);
      },
      "broadcast of 40 tensors",
      "broadcast of 40 tensors",
    );
  },
  "other parameters of a reducer": (rank) => {
    const layer = new nn.Linear(4, rank === 0 ? 4 : 5);
    differ(
      () => new dist.Reducer([...layer.namedParameters()]),
      "Reducer of 2 parameters, hook average",
      "Reducer of 2 parameters, hook average",
    );
  },
  "a rank that only adds up gradients where the other averages": (rank) => {
    const layer = new nn.Linear(4, 4);
    const reducer = new dist.Reducer([...layer.namedParameters()]);
    reducer.beforeForward(true);
    const loss = layer.forward(ones([1, 4])).sum();
    reducer.beforeBackward([loss]);
    loss.backward();
    reducer.afterBackward();
    differ(
      () => {
        if (rank === 0) reducer.beforeForward(true);
        else dist.barrier();
      },
      "averaged backward 2",
      "barrier()",
    );
    reducer.free();
  },
  "an argument that is wrong on one rank is an error there, before the others are asked": (rank) => {
    if (rank === 0) {
      assert.throws(() => dist.broadcast(ones([2]), { src: 5 }), { code: "ERR_DIST_RANK" });
      assert.throws(() => dist.reduce(ones([2]), { dst: 2 }), { code: "ERR_DIST_RANK" });
      assert.throws(() => dist.allGatherIntoTensor(ones([3]), ones([2])), /2 times/);
      assert.throws(() => dist.reduceScatterTensor(ones([3]), ones([2])), /2 times/);
      assert.throws(() => dist.allToAllSingle(ones([3]), ones([3])), /divide/);
      assert.throws(() => dist.scatter(ones([3]), [ones([3])]), /as many inputs as ranks/);
      assert.throws(() => dist.send(ones([1]), 0), /another rank/);
      // @ts-expect-error an unknown option
      assert.throws(() => new dist.Reducer([], { bucketMb: 3 }), { name: "ArgumentError" });
    }
    dist.barrier();
  },
  "the mean of a parameter's values": () => {
    const p = full([2], 3);
    p.requiresGrad = true;
    dist.allReduce(p, { op: "avg" });
    assert.deepEqual(p.tolist(), [3, 3]);
  },
};

testRanks(import.meta.url, 2, cases);
