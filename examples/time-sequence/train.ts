import { amp, arange, manualSeed, nn, noGrad, optim, randint, scope } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { region, type Curves, type RunOptions } from "../shared/options.js";
import { Sequence } from "./model.js";

const [WAVES, LENGTH, PERIOD] = [24, 60, 20];

/** Sine waves of one period that begin at different places: `[WAVES, LENGTH]`. */
function waves(dtype: "float64" | "float32"): Tensor {
  const begin = randint(-4 * PERIOD, 4 * PERIOD, [WAVES, 1]);
  return arange(LENGTH).add(begin).to("float64").div(PERIOD).sin().to(dtype);
}

/** The loss of each step of LBFGS, and that of what the network foretells beyond the data in the end. */
export function train({ precision = 64, steps = 8, log = () => {} }: TimeOptions = {}): Curves<"loss" | "future"> {
  manualSeed(0);
  const dtype = precision === 64 ? "float64" : "float32";
  const data = waves(dtype);
  const [input, target] = [data.at("3:", ":-1"), data.at("3:", "1:")];
  const [testInput, testTarget] = [data.at(":3", ":-1"), data.at(":3", "1:")];
  const seq = new Sequence().to(dtype);
  const criterion = new nn.MSELoss();
  const optimizer = new optim.LBFGS(seq.parameters(), { lr: 0.8, maxIter: 5 });
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    scope(() => {
      const closure = (): Tensor => {
        optimizer.zeroGrad();
        const out = amp.autocast(region(precision === 64 ? 32 : precision), () => seq.call(input));
        const loss = criterion.call(out.to(dtype), target);
        loss.backward();
        return loss;
      };
      losses.push(optimizer.step(closure).item());
    });
    log(`step ${i + 1}: loss ${losses.at(-1)?.toPrecision(6)}`);
  }
  const future = noGrad(() =>
    scope(() => {
      const pred = seq.call(testInput, 10);
      return criterion.call(pred.at(":", ":-10"), testTarget).item();
    }),
  );
  log(`foretold: loss ${future.toPrecision(6)}`);
  return { loss: losses, future: [future] };
}

export interface TimeOptions extends Omit<RunOptions, "precision"> {
  /** Default 64, as the original has it: LBFGS compares small differences of losses. */
  readonly precision?: 64 | 32 | "bf16" | 16;
}
