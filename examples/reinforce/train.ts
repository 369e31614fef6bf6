import { amp, cat, distributions, finfo, keep, manualSeed, optim, rand, scope, tensor } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { gradScaler, region, type Curves, type RunOptions } from "../shared/options.js";
import { CartPole, type State } from "./cart-pole.js";
import { Policy } from "./model.js";

const GAMMA = 0.99;
const EPS = finfo("float32").eps;

/** The loss of each episode, and how many steps it lasted. */
export function train({ precision = 32, steps = 200, log = () => {} }: RunOptions = {}): Curves<"loss" | "length"> {
  manualSeed(543);
  const env = new CartPole();
  const policy = new Policy();
  const optimizer = new optim.Adam(policy.parameters(), { lr: 1e-2 });
  const scaler = gradScaler(precision);

  /** An action, and the logarithm of its probability. */
  const selectAction = (state: State): [action: number, logProb: Tensor] => {
    const x = tensor(state).unsqueeze(0);
    const probs = amp.autocast(region(precision), () => policy.call(x));
    const m = new distributions.Categorical(probs);
    const action = m.sample();
    return [action.item(), m.logProb(action)];
  };

  const losses: number[] = [];
  const lengths: number[] = [];
  let runningReward = 10;
  for (let episode = 0; episode < steps; episode++) {
    scope(() => {
      const [savedLogProbs, rewards]: [Tensor[], number[]] = [[], []];
      let state = env.reset(rand([4], { dtype: "float64" }).tolist<number[]>());
      for (let done = false; !done;) {
        const [action, logProb] = scope(() => {
          const [chosen, logarithm] = selectAction(state);
          return [chosen, keep(logarithm)] as const;
        });
        const next = env.step(action);
        savedLogProbs.push(logProb);
        rewards.push(next.reward);
        ({ state, done } = next);
      }

      let R = 0;
      const list: number[] = [];
      for (const r of rewards.toReversed()) {
        R = r + GAMMA * R;
        list.unshift(R);
      }
      let returns = tensor(list);
      returns = returns.sub(returns.mean()).div(returns.std().add(EPS));
      const policyLoss = savedLogProbs.map((logProb, i) => logProb.neg().mul(returns.at(i)));
      optimizer.zeroGrad();
      const loss = cat(policyLoss).sum();
      scaler.scale(loss).backward();
      scaler.step(optimizer);
      scaler.update();
      for (const t of savedLogProbs) t.dispose();

      losses.push(loss.item());
      lengths.push(rewards.length);
      runningReward = 0.05 * rewards.length + 0.95 * runningReward;
    });
    if (episode % 10 === 0)
      log(`step ${episode + 1}: ${lengths.at(-1)} moments, on average ${runningReward.toFixed(1)}`);
  }
  return { loss: losses, length: lengths };
}
