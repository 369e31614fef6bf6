/** What a replay that follows JavaScript does where JavaScript does something else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  crossEntropyLoss,
  manualSeed,
  nn,
  optim,
  program,
  randint,
  randn,
  relu,
  scope,
  tensor,
  zeros,
  type Tensor,
} from "@nbit/torch";
import { digestOf } from "../helpers/digest.js";

type Loss = (net: nn.Sequential, x: Tensor, y: Tensor, step: number) => Tensor;
interface Result {
  readonly digest: string;
  readonly steps: program.FollowedSteps | null;
}

/** Steps of a small network by hand; `step`: what follows them, if anything. */
function train(loss: Loss, follows: boolean, steps = 10): Result {
  manualSeed(3);
  const net = new nn.Sequential(new nn.Linear(6, 8), new nn.Dropout(0.3), new nn.Linear(8, 4));
  const optimizer = new optim.SGD(net.parameters(), { lr: 0.1, momentum: 0.9 });
  const followed = follows ? new program.FollowedStep() : null;
  const losses: number[] = [];
  for (let i = 0; i < steps; i++)
    scope(() => {
      const x = randn([5, 6]);
      const y = randint(0, 4, [5]);
      optimizer.zeroGrad();
      const body = (): Tensor => {
        const value = scope(() => loss(net, x, y, i));
        value.backward();
        return value;
      };
      losses.push((followed === null ? body() : followed.run([x, y], body)).item());
      optimizer.step();
    });
  const result = { digest: digestOf(losses, net.stateDict()), steps: followed?.steps ?? null };
  followed?.dispose();
  return result;
}

const plain: Loss = (net, x, y) => crossEntropyLoss(net.call(x), y);

function same(loss: Loss): program.FollowedSteps {
  const eager = train(loss, false);
  const followed = train(loss, true);
  assert.equal(followed.digest, eager.digest);
  assert.ok(followed.steps !== null);
  return followed.steps;
}

test("steps that make the same calls are replayed", () => {
  assert.deepEqual(same(plain), { replayed: 9, left: 0, refusal: null, reason: null });
});

test("a number that changes, a branch and an extra call go on eagerly, with the graph and the random numbers", () => {
  const number = same((net, x, y, i) => plain(net, x, y, i).mul(1 + (i % 3)));
  assert.equal(number.replayed + number.left, 9);
  assert.ok(number.left > 0 && number.replayed > 0);
  assert.match(same((net, x, y, i) => plain(net, x, y, i).mul(i)).reason ?? "", /another number/);

  const branch = same((net, x, y, i) => (i % 4 === 3 ? crossEntropyLoss(relu(net.call(x)), y) : plain(net, x, y, i)));
  assert.equal(branch.left, 2);

  const more = same((net, x, y, i) => {
    const loss = plain(net, x, y, i);
    return i % 4 === 3 ? loss.add(net.call(x).square().mean()) : loss;
  });
  assert.equal(more.left, 2);

  const fewer = same((net, x, y, i) => (i % 4 === 3 ? plain(net, x, y, i) : plain(net, x, y, i).mul(2)));
  assert.equal(fewer.left, 2);
});

test("values may be read, and decide what comes next", () => {
  const seen: number[] = [];
  const read = same((net, x, y, i) => {
    const loss = plain(net, x, y, i);
    seen.push(loss.item());
    return loss;
  });
  assert.equal(read.replayed, 9);
  assert.equal(new Set(seen.slice(10)).size, 10); // of the followed run: a new value in every step
  const decided = same((net, x, y, i) => {
    const loss = plain(net, x, y, i);
    return loss.item() > 1.4 ? loss.mul(0.5) : loss;
  });
  assert.equal(decided.replayed + decided.left, 9);
});

test("tensors made of JavaScript's numbers are inputs", () => {
  const made = same((net, x, y, i) => plain(net, x, y, i).mul(tensor(1 + i)));
  assert.equal(made.replayed, 8);
  assert.equal(made.left, 1); // that it is another is found out once
});

test("results that are kept keep their values", () => {
  const kept: Tensor[] = [];
  let followed = false;
  const body: Loss = (net, x, y) => {
    const hidden = net.call(x);
    kept.push(hidden.detach().clone(), hidden);
    return crossEntropyLoss(hidden, y);
  };
  manualSeed(3);
  const net = new nn.Sequential(new nn.Linear(6, 8), new nn.Linear(8, 4));
  const step = new program.FollowedStep();
  for (let i = 0; i < 6; i++) {
    const [x, y] = [randn([5, 6]), randint(0, 4, [5])];
    net.zeroGrad();
    step.run([x, y], () => body(net, x, y, i).backward());
    followed ||= step.steps.replayed > 0;
  }
  assert.ok(followed);
  for (let i = 0; i < kept.length; i += 2) assert.equal(digestOf(kept[i]), digestOf(kept[i + 1]?.detach()));
  // One that was let go of when the step was recorded, and is kept now, is not written over either.
  const later: Tensor[] = [];
  const some = new program.FollowedStep();
  for (let i = 0; i < 8; i++) {
    const [x, y] = [randn([5, 6]), randint(0, 4, [5])];
    net.zeroGrad();
    scope(() => {
      some.run([x, y], () => {
        const loss = scope(() => {
          const hidden = relu(net.call(x));
          const value = crossEntropyLoss(hidden, y);
          return { value, hidden: i % 4 === 3 ? hidden : null };
        });
        loss.value.backward();
        if (loss.hidden !== null) later.push(loss.hidden.detach().clone());
        if (loss.hidden !== null) assert.equal(digestOf(loss.hidden.detach()), digestOf(relu(net.call(x)).detach()));
      });
    });
  }
  assert.match(some.steps.reason ?? "kept longer", /kept longer/);
  step.dispose();
  some.dispose();
});

test("hooks, custom functions and retained graphs are refused by name", () => {
  const refusal = (loss: Loss): string => same(loss).refusal ?? "";
  assert.match(
    refusal((net, x, y, i) => {
      const hidden = net.call(x);
      hidden.registerHook((grad) => grad.mul(2));
      return crossEntropyLoss(hidden, y).add(i * 0);
    }),
    /hook/,
  );
});

test("a hook of a parameter that comes later is called, and one that goes is forgotten", () => {
  const run = (follows: boolean): readonly unknown[] => {
    manualSeed(5);
    const net = new nn.Sequential(new nn.Linear(6, 8), new nn.Linear(8, 4));
    const [weight] = [...net.parameters()];
    const step = follows ? new program.FollowedStep() : null;
    const seen: unknown[] = [];
    let hook: { remove(): void } | null = null;
    for (let i = 0; i < 9; i++) {
      const [x, y] = [randn([5, 6]), randint(0, 4, [5])];
      if (i === 4) hook = weight?.registerHook((grad) => grad.mul(2)) ?? null;
      if (i === 6) hook?.remove();
      net.zeroGrad();
      const body = (): void => crossEntropyLoss(net.call(x), y).backward();
      if (step === null) body();
      else step.run([x, y], body);
      seen.push(digestOf([...net.parameters()].map((p) => p.grad)));
    }
    step?.dispose();
    return seen;
  };
  assert.deepEqual(run(true), run(false));
});

test("shapes that change in place are refused", () => {
  const steps = same((net, x, y, i) => {
    const hidden = net.call(x);
    hidden.detach().unsqueeze_(0);
    return crossEntropyLoss(hidden, y).add(i * 0);
  });
  assert.match(steps.refusal ?? "", /shape of a tensor in place.*followed\.test/);
});

test("state that forward writes is written once, whatever becomes of the step", () => {
  const run = (follows: boolean): string => {
    manualSeed(5);
    const net = new nn.Sequential(new nn.Linear(6, 8), new nn.BatchNorm1d(8), new nn.Linear(8, 4));
    const total = zeros([4]);
    const step = follows ? new program.FollowedStep() : null;
    for (let i = 0; i < 8; i++) {
      const [x, y] = [randn([5, 6]), randint(0, 4, [5])];
      net.zeroGrad();
      const body = (): void => {
        const out = net.call(x);
        total.add_(out.detach().mean([0]));
        const loss = crossEntropyLoss(out, y);
        (i % 3 === 2 ? loss.mul(2) : loss).backward();
      };
      if (step === null) body();
      else step.run([x, y], body);
    }
    if (step !== null) {
      assert.ok(step.steps.left >= 2 && step.steps.replayed >= 4, JSON.stringify(step.steps));
      step.dispose();
    }
    return digestOf(
      net.stateDict(),
      total,
      [...net.parameters()].map((p) => p.grad),
    );
  };
  assert.equal(run(true), run(false));
});
