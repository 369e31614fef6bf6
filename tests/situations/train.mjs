/** A first program: a line is learned in steps, and what it lost before and after is printed. */
import { nn, optim, randn } from "@nbit/torch";

const layer = new nn.Linear(4, 1);
const optimizer = new optim.AdamW(layer.parameters(), { lr: 0.1 });
const x = randn(64, 4);
const y = x.sum([1], { keepdim: true });
const losses = [];
for (let i = 0; i < 40; i++) {
  optimizer.zeroGrad();
  const loss = layer.forward(x).sub(y).square().mean();
  loss.backward();
  optimizer.step();
  losses.push(loss.item());
}
console.log(losses.at(-1) < losses[0] / 10 ? "trained" : `did not learn: ${losses[0]} to ${losses.at(-1)}`);
