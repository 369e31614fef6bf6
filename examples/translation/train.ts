import { amp, manualSeed, nn, noGrad, optim, scope } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { gradScaler, region, type Curves, type RunOptions } from "../shared/options.js";
import { getDataloader, sentenceOf } from "./data.js";
import { AttnDecoderRNN, EncoderRNN } from "./model.js";

const [HIDDEN_SIZE, BATCH_SIZE, EVALUATE_EVERY] = [64, 32, 8];

/** The loss of each step; and of sentences that were never seen, where the decoder goes on from its own words. */
export function train({ precision = 32, steps = 240, log = () => {} }: RunOptions = {}): Curves<"loss" | "unseen"> {
  manualSeed(3);
  const { inputLang, outputLang, trainDataloader, heldOut } = getDataloader(BATCH_SIZE);
  const encoder = new EncoderRNN(inputLang.nWords, HIDDEN_SIZE);
  const decoder = new AttnDecoderRNN(HIDDEN_SIZE, outputLang.nWords);
  const encoderOptimizer = new optim.Adam(encoder.parameters(), { lr: 0.005 });
  const decoderOptimizer = new optim.Adam(decoder.parameters(), { lr: 0.005 });
  const scaler = gradScaler(precision);
  const criterion = new nn.NLLLoss();

  const translate = (input: Tensor, target: Tensor | null): Tensor =>
    amp.autocast(region(precision), () => {
      const [encoderOutputs, encoderHidden] = encoder.call(input);
      return decoder.call(encoderOutputs, encoderHidden, target)[0];
    });
  const lossOf = (outputs: Tensor, target: Tensor): Tensor =>
    criterion.call(outputs.view(-1, outputs.size(-1)), target.view(-1));

  function evaluate([input, target]: readonly [Tensor, Tensor]): number {
    encoder.eval();
    decoder.eval();
    const loss = noGrad(() =>
      scope(() => {
        const outputs = translate(input, null);
        const found = outputs.argmax(-1).tolist() as number[][];
        const asked = (input.tolist() as number[][])[0] ?? [];
        log(`  ${sentenceOf(inputLang, asked)} → ${sentenceOf(outputLang, found[0] ?? [])}`);
        const right = found.filter(
          (words, i) => sentenceOf(outputLang, words) === sentenceOf(outputLang, target.at(i).tolist() as number[]),
        );
        log(`  ${right.length} of ${found.length} sentences that were never seen are right`);
        return lossOf(outputs, target).item();
      }),
    );
    encoder.train();
    decoder.train();
    return loss;
  }

  const losses: number[] = [];
  const unseen: number[] = [];
  while (losses.length < steps) {
    for (const [inputTensor, targetTensor] of trainDataloader) {
      scope(() => {
        encoderOptimizer.zeroGrad();
        decoderOptimizer.zeroGrad();
        const loss = lossOf(translate(inputTensor, targetTensor), targetTensor);
        scaler.scale(loss).backward();
        scaler.step(encoderOptimizer);
        scaler.step(decoderOptimizer);
        scaler.update();
        losses.push(loss.item());
      });
      if (losses.length % EVALUATE_EVERY === 1) log(`step ${losses.length}: loss ${losses.at(-1)?.toFixed(4)}`);
      if (losses.length % EVALUATE_EVERY === 0) unseen.push(evaluate(heldOut));
      if (losses.length >= steps) break;
    }
  }
  return { loss: losses, unseen };
}
