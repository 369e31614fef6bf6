import { amp, manualSeed, nn, noGrad, optim, scope } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { gradScaler, region, type Curves, type RunOptions } from "../shared/options.js";
import { citations } from "./data.js";
import { GAT } from "./gat.js";
import { GCN } from "./gcn.js";

const F = nn.functional;

export type Network = "gcn" | "gat";
/** Nodes whose class is known; the classes of the others are to be found. */
const KNOWN = 70;

/** The loss of each step over the nodes of known class, and how many of the others are right, as a share. */
export function train(
  network: Network,
  { precision = 32, steps = 100, log = () => {} }: RunOptions = {},
): Curves<"loss" | "right"> {
  manualSeed(42);
  const { features, labels, edges, classes } = citations();
  const words = features.size(1);
  const model: nn.Module & { forward(x: Tensor, edges: Tensor): Tensor } =
    network === "gcn" ? new GCN(words, 16, classes) : new GAT(words, 8, 8, classes);
  const optimizer = new optim.Adam(model.parameters(), { lr: network === "gcn" ? 0.01 : 0.005, weightDecay: 5e-4 });
  const scaler = gradScaler(precision);

  const losses: number[] = [];
  const right: number[] = [];
  for (let step = 0; step < steps; step++) {
    scope(() => {
      model.train();
      optimizer.zeroGrad();
      const output = amp.autocast(region(precision), () => model.call(features, edges));
      const loss = F.nllLoss(output.narrow(0, 0, KNOWN), labels.narrow(0, 0, KNOWN));
      scaler.scale(loss).backward();
      scaler.step(optimizer);
      scaler.update();
      losses.push(loss.item());

      model.eval();
      const found = noGrad(() => amp.autocast(region(precision), () => model.call(features, edges))).argmax(1);
      const others = labels.numel() - KNOWN;
      right.push(found.eq(labels).narrow(0, KNOWN, others).float().mean().item());
    });
    if (step % 10 === 0)
      log(`step ${step + 1}: loss ${losses.at(-1)?.toFixed(4)}, ${((right.at(-1) ?? 0) * 100).toFixed(1)} % right`);
  }
  return { loss: losses, right };
}
