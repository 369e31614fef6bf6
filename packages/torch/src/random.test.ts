import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "./index.js";

test("seeds give PyTorch's numbers", () => {
  torch.manualSeed(0);
  // torch.manual_seed(0); torch.randn(3)
  assert.deepEqual(
    Array.from(torch.randn([3]).toTypedArray() as Float32Array),
    Array.from(Float32Array.of(1.5409960746765137, -0.293428897857666, -2.1787893772125244)),
  );
  const g = new torch.Generator().manualSeed(7);
  // torch.randperm(10, generator=torch.Generator().manual_seed(7))
  assert.deepEqual(torch.randperm(10, { generator: g }).tolist(), [5, 0, 3, 4, 1, 7, 9, 6, 8, 2]);
});

test("state is saved and restored, for the default generator and others", () => {
  torch.manualSeed(3);
  const state = torch.getRngState();
  const first = torch.rand([4]).tolist();
  torch.setRngState(state);
  assert.deepEqual(torch.rand([4]).tolist(), first);
  const g = new torch.Generator().manualSeed(1);
  const own = g.getState();
  const a = torch.rand([2], { generator: g }).tolist();
  g.setState(own);
  assert.deepEqual(torch.rand([2], { generator: g }).tolist(), a);
  assert.equal(g.initialSeed(), 1n);
  assert.notEqual(g.seed(), 1n);
});

test("a copy of a generator goes on as the other does, normal numbers that were kept included, and each by itself", () => {
  const numbers = (generator: torch.Generator): unknown => [
    torch.randn([3], { generator }).tolist(),
    torch.randn([3], { generator, dtype: "float64" }).tolist(),
    torch.randperm(700, { generator }).tolist(),
  ];
  const source = new torch.Generator().manualSeed(5);
  const copy = new torch.Generator().manualSeed(9);
  for (const draws of [0, 1, 3, 701]) {
    torch.randn([draws], { generator: source });
    torch.randn([draws], { generator: source, dtype: "float64" });
    copy.copyFrom(source);
    assert.deepEqual(copy.getState().tolist(), source.getState().tolist());
    const before = source.getState().tolist();
    const expected = numbers(copy);
    assert.deepEqual(source.getState().tolist(), before);
    assert.deepEqual(numbers(source), expected);
    assert.deepEqual(source.copyFrom(source).getState().tolist(), copy.getState().tolist());
  }
});

test("bad seeds are refused", () => {
  assert.throws(() => torch.manualSeed(1.5), /whole number/);
  assert.throws(() => torch.manualSeed(1n << 65n), /64 bits/);
  assert.throws(() => torch.seedEverything(-1), /0 to 4294967295/);
  // libtorch reads behind the end of its numbers where such a state is believed.
  for (const [at, value] of [
    [8, 0],
    [8, 625],
    [8, -1],
    [16, 625],
    [16, 0xffffffff],
    [20, 1],
    [5052, 7],
  ] as const) {
    const bytes = new Uint8Array(new torch.Generator().manualSeed(1).getState().toBytes());
    new DataView(bytes.buffer).setInt32(at, value | 0, true);
    assert.throws(
      () => new torch.Generator().setState(torch.tensor(bytes)),
      { code: "ERR_ARGUMENT", message: /^setState: expected the state of a CPU generator/ },
      `${at}: ${value}`,
    );
  }
  assert.throws(() => new torch.Generator().setState(torch.zeros([3])), torch.TorchError);
  torch.manualSeed(-1);
  assert.equal(torch.initialSeed(), (1n << 64n) - 1n);
});
