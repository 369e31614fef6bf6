/**
 * Random step methods, each trained eagerly and with replays that follow it: views, writes in place, random numbers,
 * results that are kept, values that decide, branches that come now and then.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cat,
  defaultGenerator,
  dropout,
  gelu,
  keep,
  manualSeed,
  nn,
  noGrad,
  optim,
  program,
  randn,
  relu,
  scope,
  softmax,
  tanh,
  tensor,
  zeros,
  type Tensor,
} from "@nbit/torch";
import { digestOf } from "../helpers/digest.js";
import { random as randomNumbers } from "../helpers/plan-random.js";

const WIDTH = 6;

interface World {
  readonly weights: nn.Parameter[];
  readonly total: Tensor;
  readonly kept: Tensor[];
  readonly step: number;
}
type Layer = (x: Tensor, world: World) => Tensor;

/** What a layer may be; `at`: a number that is its own. */
function layers(at: number, now: (every: number) => (step: number) => boolean): Layer[] {
  const weight = ({ weights }: World): nn.Parameter => weights[at % weights.length] as nn.Parameter;
  const sometimes = now(3 + (at % 4));
  return [
    (x, w) => x.mm(weight(w)),
    (x, w) => nn.functional.linear(x, weight(w)),
    (x, w) => x.mm(weight(w).t()),
    (x) => relu(x),
    (x) => tanh(x).clone().mul_(0.5),
    (x) => gelu(x),
    (x) => softmax(x, -1),
    (x) => dropout(x, 0.3, true),
    (x) => x.add(randn(x.shape).mul(0.1)),
    (x) => x.t().contiguous().t(),
    (x) => x.reshape([-1]).view(x.shape),
    (x) => cat([x.slice(1, 0, 2), x.slice(1, 2)], 1),
    (x) => x.split(3, 1).reduce((a, b) => cat([b, a], 1)),
    (x) => x.sub(x.mean([0], { keepdim: true })),
    (x) => x.mul(x.detach().abs().add(1)),
    (x, { total }) => {
      noGrad(() => total.mul_(0.9).add_(x.detach().mean([0])));
      return x.add(total);
    },
    (x, { kept }) => {
      kept.push(keep(x.detach()), keep(x));
      if (kept.length > 6) kept.splice(0, 2);
      return x.mul(1.5);
    },
    (x) => (x.sum().item() > 0 ? x.mul(0.9) : x.add(0.1)),
    (x, { step }) => (sometimes(step) ? x.mul(2) : x),
    (x, { step }) => x.mul(sometimes(step) ? 1.1 : 1),
    (x, { step }) => (sometimes(step) ? x : x.mul(tensor(1 + (step % 3)))),
    (x) => scope(() => x.mul(x).add(x)),
    (x) => (x.requiresGrad ? x.square().sqrt().add(x) : x),
  ];
}

function run(
  seed: number,
  follows: boolean,
): { readonly digest: string; readonly steps: program.FollowedSteps | null } {
  const random = randomNumbers(seed);
  const chosen: Layer[] = [];
  const count = 2 + random(8);
  for (let i = 0; i < count; i++) {
    const all = layers(random(100), (every) => (step) => step % every === every - 1);
    chosen.push(all[random(all.length)] as Layer);
  }
  manualSeed(seed);
  const weights = [0, 1, 2].map(() => new nn.Parameter(randn([WIDTH, WIDTH]).mul(0.5)));
  const total = zeros([WIDTH]);
  const kept: Tensor[] = [];
  const optimizer = new optim.Adam(weights, { lr: 1e-2 });
  const step = follows ? new program.FollowedStep() : null;
  const seen: unknown[] = [];
  for (let i = 0; i < 14; i++)
    scope(() => {
      const x = randn([4, WIDTH]);
      optimizer.zeroGrad();
      const body = (): void => {
        const first = x.mm(weights[0] as Tensor);
        const out = chosen.reduce((y, layer) => layer(y, { weights, total, kept, step: i }), first);
        const loss = out.square().mean();
        seen.push(loss.item());
        loss.backward();
      };
      if (step === null) body();
      else step.run([x], body);
      seen.push(kept.map((t) => digestOf(t.detach())));
      optimizer.step();
    });
  const digest = digestOf(
    seen,
    weights,
    total,
    defaultGenerator.getState(),
    weights.map((w) => w.grad),
  );
  const steps = step?.steps ?? null;
  step?.dispose();
  return { digest, steps };
}

test("random steps leave what they leave without replays", () => {
  let replayed = 0;
  let left = 0;
  for (let seed = 1; seed <= 120; seed++) {
    const eager = run(seed, false);
    const followed = run(seed, true);
    assert.equal(followed.digest, eager.digest, `seed ${seed}: ${JSON.stringify(followed.steps)}`);
    replayed += followed.steps?.replayed ?? 0;
    left += followed.steps?.left ?? 0;
  }
  assert.ok(replayed > 700 && left > 100, `${replayed} replayed, ${left} left`);
});
