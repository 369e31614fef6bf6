/** What programs of docs/programs.md that are no examples do at their core: the small ones. They learn, small. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as torch from "@nbit/torch";
import { distributions, manualSeed, nn, optim, tensor, type Tensor } from "@nbit/torch";
import { falls } from "./learns.js";

test("14, actor-critic: two heads, Categorical, log-probabilities of an episode, smooth L1 of returns", () => {
  manualSeed(8);
  class Policy extends nn.Module {
    readonly affine1 = new nn.Linear(4, 16);
    readonly actionHead = new nn.Linear(16, 2);
    readonly valueHead = new nn.Linear(16, 1);
    forward(x: Tensor): [Tensor, Tensor] {
      const h = nn.functional.relu(this.affine1.forward(x));
      return [nn.functional.softmax(this.actionHead.forward(h), -1), this.valueHead.forward(h)];
    }
  }
  const model = new Policy();
  const optimizer = new optim.Adam(model.parameters(), { lr: 3e-2 });
  const states = Array.from({ length: 10 }, () => torch.randn([4]));
  // The reward is for the action that the first number asks for: what is learned can be seen.
  const episode = (): { reward: number; loss: Tensor } => {
    const saved: { logProb: Tensor; value: Tensor }[] = [];
    const rewards: number[] = [];
    for (const state of states) {
      const [probs, value] = model.forward(state);
      const m = new distributions.Categorical(probs);
      const action = m.sample();
      saved.push({ logProb: m.logProb(action), value });
      rewards.push(Number(action.item()) === Number(state.at(0).item() > 0) ? 1 : 0);
    }
    let R = 0;
    const returns = rewards
      .slice()
      .reverse()
      .map((r) => (R = r + 0.3 * R))
      .reverse();
    const scaled = tensor(returns, { dtype: "float32" });
    const normal = scaled.sub(scaled.mean()).div(scaled.std().add(1e-6));
    const policy: Tensor[] = [];
    const values: Tensor[] = [];
    saved.forEach(({ logProb, value }, i) => {
      const advantage = normal.at(i).item() - value.item();
      policy.push(logProb.neg().mul(advantage));
      values.push(nn.functional.smoothL1Loss(value, normal.at(i).view([1])));
    });
    const loss = torch.stack(policy).sum().add(torch.stack(values).sum());
    return { reward: rewards.reduce((a, b) => a + b, 0), loss };
  };
  let last = 0;
  for (let i = 0; i < 60; i++)
    torch.scope(() => {
      const { reward, loss } = episode();
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      last = i >= 50 ? last + reward : 0;
    });
  assert.ok(last > 80, `${last} of 100`);
});

test("17, forward-forward: each layer trains itself on good and bad samples, detached from the next", () => {
  manualSeed(9);
  class Layer extends nn.Linear {
    readonly optimizer: optim.Optimizer;
    constructor(inFeatures: number, outFeatures: number) {
      super(inFeatures, outFeatures);
      this.optimizer = new optim.Adam(this.parameters(), { lr: 0.03 });
    }
    override forward(x: Tensor): Tensor {
      const direction = x.div(x.norm(2, 1, true).add(1e-4));
      return nn.functional.relu(torch.mm(direction, this.weight.T).add((this.bias as Tensor).unsqueeze(0)));
    }
    learn(good: Tensor, bad: Tensor): Tensor {
      const [g, b] = [good, bad].map((x) => this.forward(x).pow(2).mean(1)) as [Tensor, Tensor];
      const loss = torch.log(torch.exp(torch.cat([g.neg().add(2), b.sub(2)])).add(1)).mean();
      this.optimizer.zeroGrad();
      loss.backward();
      this.optimizer.step();
      return loss;
    }
  }
  const layers = [new Layer(10, 32), new Layer(32, 32)];
  const x = torch.rand([16, 10]);
  const label = torch.arange(16).remainder(2);
  const overlay = (y: Tensor): Tensor => torch.cat([nn.functional.oneHot(y, 2).to("float32"), x.narrow(1, 2, 8)], 1);
  const [good, bad] = [overlay(label), overlay(label.mul(-1).add(1))];
  falls(150, 0.75, () => {
    let [h, l] = [good, bad];
    let total: Tensor = tensor(0, { dtype: "float32" });
    for (const layer of layers) {
      total = total.add(layer.learn(h, l).detach());
      [h, l] = [layer.forward(h).detach(), layer.forward(l).detach()];
    }
    return total;
  });
});

test("18, regression: a polynomial of degree four by smooth L1 and gradients without an optimizer", () => {
  manualSeed(10);
  const W = torch.randn([4, 1]).mul(5);
  const b = torch.randn([1]).mul(5);
  const features = (x: Tensor): Tensor =>
    torch.cat(
      [1, 2, 3, 4].map((i) => x.unsqueeze(1).pow(i)),
      1,
    );
  const fc = new nn.Linear(W.size(0), 1);
  falls(200, 0.3, () => {
    const random = torch.randn([32]);
    const x = features(random);
    const y = x.mm(W).add(b.item());
    fc.zeroGrad();
    const output = nn.functional.smoothL1Loss(fc.forward(x), y);
    const loss = output.detach();
    output.backward();
    for (const param of fc.parameters()) param.data.add_((param.grad as Tensor).mul(-0.1));
    return loss;
  });
});
