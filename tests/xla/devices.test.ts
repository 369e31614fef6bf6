/** Random numbers, and steps that several devices run together. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  crossEntropyLoss,
  dropout,
  manualSeed,
  nn,
  optim,
  ones,
  type program,
  rand,
  randint,
  randn,
  type Tensor,
} from "@nbit/torch";
import { DeviceStep, needsCpu, recorded, recordedWith } from "./harness.js";

const mean = (t: Tensor): number => t.to("float64").mean().item();
const spread = (t: Tensor): number => t.to("float64").std().item();

test(
  "random operators draw from their distributions, other numbers at each step, the same ones for a seed",
  needsCpu,
  async () => {
    const x = ones([512, 512]);
    const n = 512 * 512;
    const draw = (): Record<string, Tensor> => ({
      dropped: dropout(x, 0.25, true),
      bits: x.clone().bernoulli_(0.3),
      normal: x.clone().normal_(2, 3),
      uniform: x.clone().uniform_(-1, 3),
      waiting: x.clone().exponential_(2),
      standard: randn([512, 512]),
      even: rand([512, 512]),
      whole: randint(3, 11, [512, 512]),
    });
    const step = recorded(draw);
    const runOf = async (seed: bigint, steps: number): Promise<Record<string, Tensor>[]> => {
      const device = await DeviceStep.of(step, {}, seed);
      const all: Record<string, Tensor>[] = [];
      for (let k = 0; k < steps; k++) {
        await device.run();
        all.push(await device.results());
      }
      return all;
    };
    const [first, second] = (await runOf(1n, 2)) as [Record<string, Tensor>, Record<string, Tensor>];
    const [again] = (await runOf(1n, 1)) as [Record<string, Tensor>];
    const [other] = (await runOf(2n, 1)) as [Record<string, Tensor>];
    // name → mean and standard deviation of its distribution
    const expected: Readonly<Record<string, readonly [number, number]>> = {
      dropped: [1, Math.sqrt(1 / 3)],
      bits: [0.3, Math.sqrt(0.21)],
      normal: [2, 3],
      uniform: [1, 4 / Math.sqrt(12)],
      waiting: [0.5, 0.5],
      standard: [0, 1],
      even: [0.5, 1 / Math.sqrt(12)],
      whole: [6.5, Math.sqrt(63 / 12)],
    };
    for (const [name, [m, s]] of Object.entries(expected)) {
      const drawn = first[name] as Tensor;
      assert.ok(Math.abs(mean(drawn) - m) < (5 * s) / Math.sqrt(n), `${name} has the mean ${mean(drawn)}`);
      assert.ok(Math.abs(spread(drawn) - s) < 0.01 * s, `${name} has the deviation ${spread(drawn)}`);
      assert.ok((again[name] as Tensor).eq(drawn).all().item() !== 0, `${name} is not the same for one seed`);
      for (const later of [second, other])
        assert.ok(mean((later[name] as Tensor).ne(drawn).to("float32")) > 0.2, `${name} is the same again`);
    }
    assert.equal(Number((first["uniform"] as Tensor).lt(-1).any().item()), 0);
    assert.equal(Number((first["uniform"] as Tensor).ge(3).any().item()), 0);
  },
);

/** A step whose state is large enough to be split. */
function task(): { step: program.RecordedStep } {
  manualSeed(2);
  const net = new nn.Sequential(new nn.Linear(8, 16), new nn.BatchNorm1d(16), new nn.ReLU(), new nn.Linear(16, 4));
  const optimizer = new optim.AdamW(net.parameters(), { fused: true });
  optimizer.keepRatesOn("cpu");
  const [x, y] = [randn([12, 8]), randint(0, 4, [12])];
  const run = (): Record<string, Tensor> => {
    optimizer.zeroGrad();
    const loss = crossEntropyLoss(net.forward(x), y);
    loss.backward();
    optimizer.step();
    return { loss: loss.detach() };
  };
  run();
  return { step: recordedWith({ x, y }, run, net.parameters()) };
}
const lossesOf = async (device: DeviceStep): Promise<number[]> => {
  const losses: number[] = [];
  for (let k = 0; k < 4; k++) {
    await device.run();
    losses.push(((await device.results())["loss"] as Tensor).item());
  }
  return losses;
};

for (const state of ["replicated", "sharded"] as const)
  test(`four devices share a batch, state ${state}: the losses of one device`, needsCpu, async () => {
    const { step } = task();
    const alone = await lossesOf(await DeviceStep.of(step));
    const device = await DeviceStep.of(step, { partitions: 4, shard: { batch: ["x", "y"], state } });
    const splits = device.lowered.arguments.map(({ kind, split }) => [kind, split] as const);
    assert.deepEqual(
      splits.filter(([kind]) => kind === "input").map(([, split]) => split),
      [0, 0],
    );
    assert.equal(
      splits.some(([kind, split]) => kind === "state" && split !== null),
      state === "sharded",
    );
    const together = await lossesOf(device);
    alone.forEach((loss, k) =>
      assert.ok(Math.abs((together[k] as number) / loss - 1) < 1e-5, `${together} for ${alone}`),
    );
    assert.ok(((await device.executable.countInstructions()).get("all-reduce") ?? 0) > 0);
  });

test("four devices drop what one drops", needsCpu, async () => {
  const x = randn([8, 16]);
  const step = recordedWith({ x }, () => ({ y: dropout(x, 0.5, true) }));
  const results: Tensor[] = [];
  for (const options of [{}, { partitions: 4, shard: { batch: ["x"] } }]) {
    const device = await DeviceStep.of(step, options);
    await device.run();
    results.push((await device.results())["y"] as Tensor);
  }
  assert.ok(
    (results[0] as Tensor)
      .eq(results[1] as Tensor)
      .all()
      .item() !== 0,
  );
});
