/**
 * A character-level GPT on Moby Dick, trained twice from the same start over the same batches: with AdamW, and with
 * AdamW whose state is in 8 bits.
 *
 *     node examples/dist/moby-dick/main.js [--steps 600] [--width 128] [--layers 2] [--sample 300]
 */
import { parseArgs } from "node:util";
import { Trainer } from "@nbit/lightning";
import { AdamW8bit, LowBitOptimizer } from "@nbit/lowbit";
import { isTensor, optim, seedEverything } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { batches, loadBook } from "./data.js";
import { CharGpt } from "./model.js";

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "600" },
    width: { type: "string", default: "128" },
    layers: { type: "string", default: "2" },
    sample: { type: "string", default: "300" },
  },
});
const [steps, width, layers, length] = [values.steps, values.width, values.layers, values.sample].map(Number) as [
  number,
  number,
  number,
  number,
];
const CONTEXT = 64;
const lr = 2e-3;
const book = loadBook();

function stateBytes(optimizer: optim.Optimizer): number {
  if (optimizer instanceof LowBitOptimizer) return optimizer.stateBytes();
  return [...optimizer.state.values()]
    .flatMap((s) => Object.values(s))
    .reduce<number>((sum, v) => sum + (isTensor(v) ? v.nbytes : 0), 0);
}

async function train(
  name: string,
  make: (parameters: Iterable<Tensor>) => optim.Optimizer,
): Promise<{ name: string; loss: number; forecast: number; measured: number; text: string }> {
  seedEverything(1851);
  const made: optim.Optimizer[] = [];
  const model = new CharGpt(book.alphabet, CONTEXT, width, layers, (parameters) => {
    const optimizer = make(parameters);
    made.push(optimizer);
    return optimizer;
  });
  const trainer = new Trainer({
    accelerator: "cpu",
    precision: 32,
    maxEpochs: 1,
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
  });
  await trainer.fit(model, { trainDataloaders: { [Symbol.iterator]: () => batches(book.codes, steps, 32, CONTEXT) } });
  const tail = model.losses.slice(-Math.max(1, Math.ceil(steps / 10)));
  return {
    name,
    loss: tail.reduce((a, b) => a + b, 0) / tail.length,
    forecast: trainer.precision.explain({ print: false }).memory?.optimizerState ?? NaN,
    measured: made.reduce((sum, optimizer) => sum + stateBytes(optimizer), 0),
    text: model.sample("Call me ", length),
  };
}

const full = await train("AdamW", (parameters) => new optim.AdamW(parameters, { lr, fused: true }));
const low = await train("AdamW8bit", (parameters) => new AdamW8bit(parameters, { lr }));
const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`;
console.log("optimizer   mean loss of the last tenth   state, forecast   state, measured");
for (const r of [full, low])
  console.log(
    `${r.name.padEnd(12)}${r.loss.toFixed(4).padStart(27)}${kib(r.forecast).padStart(18)}${kib(r.measured).padStart(18)}`,
  );
console.log(
  `loss: ${((low.loss / full.loss - 1) * 100).toFixed(2)} % apart; state: ${((low.measured / full.measured) * 100).toFixed(1)} % of AdamW's\n`,
);
console.log(low.text);
