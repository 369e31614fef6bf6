/** Every collective against what it says, over dtypes, on 2 and on 4 ranks. */
import assert from "node:assert/strict";
import { arange, empty, full, tensor, type DType } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";

const REDUCIBLE: readonly DType[] = ["float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8"];
const list = (t: { tolist(): unknown }): unknown => t.tolist();

const cases: Record<string, RankCase> = {
  "allReduce sums, and takes the mean, product, least and greatest": (rank, world) => {
    for (const dtype of REDUCIBLE) {
      const expected: [dist.ReduceOp, number][] = [
        ["sum", (world * (world + 1)) / 2],
        ["max", world],
        ["min", 1],
        ["product", world === 2 ? 2 : 24],
      ];
      if (dtype.includes("float")) expected.push(["avg", (world + 1) / 2]);
      for (const [op, value] of expected) {
        const t = full([3], rank + 1, { dtype });
        assert.equal(dist.allReduce(t, { op }), undefined);
        assert.deepEqual(list(t.double()), [value, value, value], `${op} of ${dtype}`);
      }
    }
  },
  "broadcast, gather, scatter and their kin move every dtype, float8 too": (rank, world) => {
    for (const dtype of [...REDUCIBLE, "bool", "float8_e4m3fn"] as const) {
      const mine = full([2], rank === 0 ? 0 : 1, { dtype: "float32" }).to(dtype);
      const all = dist.allGather(mine);
      assert.deepEqual(
        all.map((t) => list(t.float())),
        Array.from({ length: world }, (_, r) => (r === 0 ? [0, 0] : [1, 1])),
      );
      const gathered = dist.gather(mine, { dst: 1 });
      if (rank === 1)
        assert.deepEqual(
          gathered?.map((t) => t.dtype),
          all.map(() => dtype),
        );
      else assert.equal(gathered, null);
      const got = full([2], 0, { dtype: "float32" }).to(dtype);
      dist.scatter(got, rank === 1 ? all : null, { src: 1 });
      assert.deepEqual(list(got.float()), rank === 0 ? [0, 0] : [1, 1]);
      dist.broadcast(mine, { src: 1 });
      assert.deepEqual(list(mine.float()), [1, 1], dtype);
    }
  },
  "reduceScatter and allToAll give each rank its part": (rank, world) => {
    const out = empty([2]);
    dist.reduceScatterTensor(out, arange(0, 2 * world).float());
    assert.deepEqual(list(out), [2 * rank * world, (2 * rank + 1) * world]);
    const parts = Array.from({ length: world }, (_, r) => full([2], r));
    assert.deepEqual(list(dist.reduceScatter(parts, { op: "avg" })), [rank, rank]);
    const swapped = empty([world]);
    dist.allToAllSingle(swapped, full([world], rank));
    assert.deepEqual(
      list(swapped),
      Array.from({ length: world }, (_, r) => r),
    );
    const whole = empty([world * 2]);
    dist.allGatherIntoTensor(whole, full([2], rank));
    assert.equal(whole.sum().item(), world * (world - 1));
  },
  "reduce leaves the sum on one rank": (rank, world) => {
    const t = full([2], rank + 1);
    dist.reduce(t, { dst: world - 1 });
    if (rank === world - 1) assert.deepEqual(list(t), [(world * (world + 1)) / 2, (world * (world + 1)) / 2]);
  },
  "asynchronous collectives are awaited, or waited for": async (rank, world) => {
    const a = full([1000], rank);
    const b = full([10], 1);
    const works = [dist.allReduce(a, { asyncOp: true }), dist.allReduce(b, { asyncOp: true, op: "avg" })] as const;
    works[1].wait();
    assert.equal(works[1].waited, true);
    await works[0];
    await works[0]; // twice is once
    assert.equal(a.mean().item(), (world * (world - 1)) / 2);
    assert.equal(b.sum().item(), 10);
  },
  "send reaches recv": async (rank) => {
    if (rank === 0) {
      dist.send(tensor([1, 2]), 1);
      await dist.send(tensor([3, 4]), 1, { asyncOp: true, tag: 5 });
    } else if (rank === 1) {
      const [a, b] = [empty([2]), empty([2])];
      dist.recv(a, 0);
      await dist.recv(b, 0, { asyncOp: true, tag: 5 });
      assert.deepEqual(
        [list(a), list(b)],
        [
          [1, 2],
          [3, 4],
        ],
      );
    }
    dist.barrier();
  },
  "objects travel as structured clones": (rank, world) => {
    const all = dist.allGatherObject({ rank, name: "r".repeat(rank), when: new Date(rank) });
    assert.deepEqual(
      all.map((o) => [o.rank, o.name.length, o.when.getTime()]),
      Array.from({ length: world }, (_, r) => [r, r, r]),
    );
    assert.deepEqual(dist.broadcastObject(rank === 1 ? new Map([["a", 1n]]) : null, { src: 1 }), new Map([["a", 1n]]));
    const names = rank === 0 ? ["x", "y"] : [null, null];
    dist.broadcastObjectList(names);
    assert.deepEqual(names, ["x", "y"]);
    assert.equal(dist.scatterObject(rank === 0 ? all.map((o) => o.rank * 2) : null), rank * 2);
    assert.equal(dist.gatherObject(rank)?.length ?? 0, rank === 0 ? world : 0);
    assert.throws(() => dist.allGatherObject(() => 1), /structured cloning/);
  },
  "groups and meshes hold the ranks that they say": async (rank, world) => {
    const odd = await dist.newGroup(Array.from({ length: world }, (_, r) => r).filter((r) => r % 2 === 1));
    const t = full([1], rank);
    if (odd !== null) dist.allReduce(t, { group: odd });
    assert.equal(odd === null, rank % 2 === 0);
    if (rank % 2 === 1) assert.equal(t.item(), world === 2 ? 1 : 4);
    const mesh = await dist.initDeviceMesh("cpu", [world / 2, 2], { meshDimNames: ["replicate", "shard"] });
    assert.deepEqual(mesh.coordinate, [Math.floor(rank / 2), rank % 2]);
    assert.deepEqual(mesh.getGroup("shard").ranks, [rank - (rank % 2), rank - (rank % 2) + 1]);
    assert.equal(mesh.size("replicate"), world / 2);
    await assert.rejects(dist.initDeviceMesh("cpu", [world, 3]), /a shape with/);
    assert.throws(() => mesh.getGroup("rows"), /dimension/);
  },
  "what cannot be sent is refused before anybody waits": () => {
    assert.throws(() => dist.allReduce(empty([4, 4]).t()), /contiguous/);
    assert.throws(() => dist.allReduce(tensor([1, 2], { dtype: "int64" }), { op: "avg" }), /floating point/);
    assert.throws(() => dist.allReduce(full([2], 1).to("float8_e4m3fn")), /can be summed/);
    assert.throws(() => dist.broadcast(empty([1]), { src: 9 }), { code: "ERR_DIST_RANK" });
    // @ts-expect-error an unknown option
    assert.throws(() => dist.allReduce(empty([1]), { reduceOp: "sum" }), /option/);
    assert.throws(() => dist.allReduce(empty([1]), { op: "median" as "sum" }), /one of/);
  },
};

testRanks(import.meta.url, 2, cases);
testRanks(import.meta.url, 4, cases);
