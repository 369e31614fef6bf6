/** Random programs of views and writes into them: XLA leaves what libtorch's replay leaves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { manualSeed, randn, type Tensor } from "@nbit/torch";
import { DeviceStep, difference, needsCpu, recorded } from "./harness.js";

/** Whole numbers below n of a small generator: the same on every machine. */
function dice(seed: number): (n: number) => number {
  let state = seed >>> 0 || 1;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

/** A view of a tensor by one of the operators that make some. */
function viewOf(x: Tensor, roll: (n: number) => number): Tensor {
  const rank = x.shape.length;
  if (rank === 0) return x.unsqueeze(0);
  const dim = roll(rank);
  const n = x.shape[dim] as number;
  switch (roll(9)) {
    case 0:
      return x.transpose(dim, roll(rank));
    case 1:
      return rank > 1 ? x.select(dim, roll(n)) : x;
    case 2: {
      const from = roll(n);
      return x.slice(dim, from, n, 1 + roll(3));
    }
    case 3:
      return x.unsqueeze(roll(rank + 1));
    case 4:
      return x.isContiguous() ? x.view([-1]) : x;
    case 5:
      return x.chunk(2, dim).at(-1) as Tensor;
    case 6:
      return rank > 1 ? x.diagonal() : x;
    case 7:
      return n >= 2 ? x.unfold(dim, 2, 2) : x;
    default:
      return n % 2 === 0 && x.isContiguous()
        ? x.view([...x.shape.slice(0, dim), 2, n / 2, ...x.shape.slice(dim + 1)])
        : x;
  }
}

/** What a step does to two tensors and a third of its own. */
function program(seed: number, a: Tensor, b: Tensor): Record<string, Tensor> {
  const roll = dice(seed);
  const c = a.mul(2);
  const views: Tensor[] = [a, b, c, b.t()];
  const kept: Tensor[] = [];
  for (let i = 0; i < 14; i++) {
    const from = views[roll(views.length)] as Tensor;
    const made = roll(3) === 0 ? viewOf(viewOf(from, roll), roll) : viewOf(from, roll);
    views.push(made);
    const target = views[roll(views.length)] as Tensor;
    const source = views[roll(views.length)] as Tensor;
    switch (roll(6)) {
      case 0:
        target.mul_(0.5);
        break;
      case 1:
        target.fill_(roll(5));
        break;
      case 2:
        target.add_(source.sum());
        break;
      case 3:
        if (String(source.shape) === String(target.shape)) target.copy_(source.clone());
        break;
      case 4:
        kept.push(source.add(1));
        break;
      default:
        target.neg_();
    }
  }
  return Object.fromEntries([...kept, ...views.slice(-5).map((v) => v.clone())].map((t, i) => [`r${i}`, t]));
}

for (let group = 0; group < 6; group++)
  test(`views and writes, programs ${group * 10 + 1} to ${group * 10 + 10}`, needsCpu, async () => {
    for (let seed = group * 10 + 1; seed <= group * 10 + 10; seed++) {
      manualSeed(seed);
      // A part of a larger tensor, and a transposed one.
      const [whole, other] = [randn([6, 8]), randn([4, 6])];
      const [a, b] = [seed % 2 === 0 ? whole.slice(0, 1, 5) : whole, other.t()];
      const step = recorded(() => program(seed, a, b));
      const device = await DeviceStep.of(step);
      await device.run();
      const [got, state] = [await device.results(), await device.state()];
      const want = step.replay();
      assert.deepEqual(Object.keys(got), Object.keys(want));
      for (const [name, value] of Object.entries(want))
        assert.ok(difference(got[name] as Tensor, value) <= 1e-6, `program ${seed}: ${name}`);
      for (const { argument, value } of state)
        assert.ok(
          difference(value, device.hostOf(argument)) <= 1e-6,
          `program ${seed}: state ${argument.memory?.value}`,
        );
      step.dispose();
    }
  });
