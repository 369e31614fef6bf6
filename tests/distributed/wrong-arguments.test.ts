/** What somebody types by mistake is an error with a code, before anything is begun: the ranks go on together. */
import assert from "node:assert/strict";
import { type DType, NbitError, nn, ones, optim, tensor, zeros } from "@nbit/torch";
import * as dist from "@nbit/torch/distributed";
import { testRanks, type RankCase } from "../helpers/ranks.js";

const WORLD = 2;

/** Calls with arguments that no type allows. */
const refused = async (calls: Readonly<Record<string, () => unknown>>, code = "ERR_ARGUMENT"): Promise<void> => {
  for (const [name, call] of Object.entries(calls))
    await assert.rejects(
      async () => {
        await call();
      },
      (error: unknown) => {
        assert.ok(error instanceof NbitError, `${name}: ${String(error)}`);
        assert.equal(error.code, code, `${name}: ${error.message}`);
        return true;
      },
      name,
    );
  dist.barrier();
};
const wrong = (value: unknown): never => value as never;

const DTYPES: readonly DType[] = ["int16", "uint16", "uint64", "complex64", "complex128", "float8_e4m3fn", "bool"];
const trap = (): never => {
  throw new Error("not to be looked at");
};

const { WebAssembly: wasm } = globalThis as typeof globalThis & {
  WebAssembly: { Module: new (code: Uint8Array) => object };
};

const cases: Record<string, RankCase> = {
  "reductions of dtypes that cannot be reduced so": async () => {
    const reductions = (dtype: DType, op: dist.ReduceOp): Record<string, () => unknown> => ({
      [`allReduce ${dtype} ${op}`]: () => dist.allReduce(zeros([2], { dtype }), { op }),
      [`reduce ${dtype} ${op}`]: () => dist.reduce(zeros([2], { dtype }), { op }),
      [`reduceScatterTensor ${dtype} ${op}`]: () =>
        dist.reduceScatterTensor(zeros([1], { dtype }), zeros([2], { dtype }), { op }),
    });
    for (const op of ["band", "bor", "bxor"] as const)
      for (const dtype of ["float32", "float16", "complex64"] as const)
        await refused(reductions(dtype, op), "TORCH_TYPE");
    for (const dtype of ["int16", "uint16", "uint64", "float8_e4m3fn"] as const)
      await refused(reductions(dtype, "max"), "TORCH_TYPE");
    await refused(reductions("complex64", "product"), "TORCH_TYPE");
    const sum = tensor([1, 2], { dtype: "int64" });
    dist.allReduce(sum, { op: "bor" });
    assert.deepEqual([...sum.toTypedArray()].map(Number), [1, 2]);
  },
  "any dtype travels, of any shape": (rank) => {
    for (const dtype of DTYPES)
      for (const shape of [[], [0], [2], [2, 3]]) {
        const make = (n: number): ReturnType<typeof zeros> => ones(shape, { dtype: "float32" }).mul(n).to(dtype);
        const text = (t: ReturnType<typeof zeros>): string => Buffer.from(t.toBytes()).toString("hex");
        const [zero, one] = [text(make(0)), text(make(1))];
        const t = make(rank);
        dist.broadcast(t, { src: 1 });
        assert.equal(text(t), one, `broadcast ${dtype}`);
        assert.deepEqual(dist.allGather(make(rank)).map(text), [zero, one], `allGather ${dtype}`);
        assert.deepEqual(dist.gather(make(rank), { dst: 1 })?.map(text) ?? null, rank === 1 ? [zero, one] : null);
        dist.scatter(t, rank === 0 ? [make(1), make(0)] : null, { src: 0 });
        assert.equal(text(t), rank === 0 ? one : zero, `scatter ${dtype}`);
        if (rank === 0) dist.send(make(1), 1);
        else dist.recv(t, 0);
        assert.equal(text(t), one, `send ${dtype}`);
        dist.broadcastCoalesced([t]);
        if (shape[0] !== 2) continue;
        const out = make(0);
        dist.allToAllSingle(out, make(rank));
        assert.equal(out.select(0, 1).to("float32").sum().item(), shape.length === 1 ? 1 : 3, `allToAll ${dtype}`);
      }
  },
  "tensors that require gradients, written and read in place": (rank) => {
    const leaf = (): ReturnType<typeof zeros> =>
      ones([2])
        .mul(rank + 1)
        .requiresGrad_(true);
    const joined = new nn.Parameter(ones([4]));
    const t = leaf();
    dist.allReduce(t);
    assert.deepEqual(t.tolist(), [3, 3]);
    dist.reduceScatterTensor(t, joined);
    assert.deepEqual(t.tolist(), [2, 2]);
    dist.allGatherIntoTensor(joined, leaf());
    assert.deepEqual(joined.tolist(), [1, 1, 2, 2]);
    dist.allToAllSingle(t, leaf());
    assert.deepEqual(t.tolist(), [1, 2]);
    dist.broadcast(t, { src: 1 });
    dist.scatter(t, rank === 0 ? [leaf(), leaf()] : null);
    assert.deepEqual(t.tolist(), [1, 1]);
    dist.reduce(t);
  },
  "lists, names and shapes of other kinds": async () => {
    const { Reducer, fullyShard } = dist;
    const layer = new nn.Linear(2, 2);
    const hostile = new Proxy({}, { get: trap, ownKeys: trap, getPrototypeOf: trap });
    await refused({
      "reduceScatter of nothing": () => dist.reduceScatter(wrong(null)),
      "reduceScatter of numbers": () => dist.reduceScatter(wrong([1, 2])),
      "reduceScatter with holes": () => dist.reduceScatter(wrong(new Array(WORLD))),
      "scatter of a number": () => dist.scatter(ones([2]), wrong(5)),
      "broadcastCoalesced of nothing": () => dist.broadcastCoalesced(wrong(null)),
      "broadcastCoalesced of numbers": () => dist.broadcastCoalesced(wrong([1])),
      "scatterObject of a number": () => dist.scatterObject(wrong(5)),
      "an object that throws": () => dist.allGatherObject(hostile),
      "a function": () => dist.allGatherObject({ inside: [() => 1] }),
      "what another process cannot read": () =>
        dist.allGatherObject(new wasm.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))),
      "a list that is frozen": () => dist.broadcastObjectList(wrong(Object.freeze([1]))),
      "newGroup of a number": () => dist.newGroup(wrong(5)),
      "newGroup of names": () => dist.newGroup(wrong("01")),
      "newGroup twice the same": () => dist.newGroup([0, 0]),
      "a mesh of nothing": () => dist.initDeviceMesh("cpu", wrong(null)),
      "a mesh of a number": () => dist.initDeviceMesh("cpu", wrong(WORLD)),
      "a mesh of an object": () => dist.initDeviceMesh("cpu", wrong({ 0: WORLD, length: 1 })),
      "a mesh with one name": () => dist.initDeviceMesh("cpu", [WORLD], { meshDimNames: wrong("a") }),
      "Reducer of nothing": () => new Reducer(wrong(null)),
      "Reducer of tensors": () => new Reducer(wrong([ones([2])])),
      "Reducer of a module": () => new Reducer(wrong(layer)),
      "Reducer of an iterator": () => new Reducer(wrong(layer.namedParameters())),
      "Reducer of numbers": () => new Reducer(wrong([["a", 5]])),
      "forwardMethods of a number": () => fullyShard(new nn.Linear(2, 2), { forwardMethods: wrong(5) }),
      "forwardMethods of numbers": () => fullyShard(new nn.Linear(2, 2), { forwardMethods: wrong([5]) }),
    });
  },
  "states of other kinds, for shards": async () => {
    const module = new nn.Linear(2, 2);
    const optimizer = new optim.SGD(module.parameters(), { lr: 1 });
    dist.fullyShard(module);
    dist.shardOptimizer(module, optimizer);
    const load = (state: unknown) => () => dist.loadFullOptimizerStateDict(module, optimizer, wrong(state));
    const loadParts = (saved: unknown) => () =>
      dist.loadShardedOptimizerStateDict(module, optimizer, wrong(saved), () => ones([1]));
    await refused({
      "no state": load(null),
      "a state without groups": load({ state: {} }),
      "groups of numbers": load({ state: {}, paramGroups: [5] }),
      "groups without parameters": load({ state: {}, paramGroups: [{}] }),
      "no states": load({ state: null, paramGroups: [{ params: [0, 1] }] }),
      "no saved state": loadParts(null),
      "a saved state without groups": loadParts({}),
      "no weights": () => dist.loadFullStateDict(module, wrong(null)),
      "a reader of numbers": () => dist.loadShardedStateDict(module, () => wrong(5)),
      "clipping nothing": () => dist.clipShardedGradNorm(module, wrong(null), 1),
    });
    await refused(
      { "weights that are numbers": () => dist.loadFullStateDict(module, wrong({ weight: 5, bias: 5 })) },
      "STATE_DICT_MISMATCH",
    );
    dist.unshardModule(module);
  },
};
testRanks(import.meta.url, WORLD, cases);
