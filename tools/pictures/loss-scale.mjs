/** The loss scale of a real run in float16: where it grows, where a gradient overflows, and which steps are skipped. */
import { Callback, LightningModule, MixedPrecision, Trainer } from "@nbit/lightning";
import { crossEntropyLoss, DataLoader, nn, optim, randn, seedEverything, TensorDataset } from "@nbit/torch";
import { el, label, picture } from "./svg.mjs";

const STEPS = 240;
/** Twenty good steps instead of 2,000, so that a short run shows what a long one does. */
export const SETTINGS = { initScale: 2 ** 16, growthInterval: 20 };

class Net extends LightningModule {
  layers = new nn.Sequential(new nn.Linear(64, 128), new nn.ReLU(), new nn.Linear(128, 10));
  trainingStep([x, y]) {
    return crossEntropyLoss(this.layers.forward(x), y);
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}

class Curve extends Callback {
  steps = [];
  #skipped = 0;
  onTrainBatchEnd(trainer) {
    const skipped = trainer.skippedSteps;
    this.steps.push({ scale: trainer.lossScale, skipped: skipped > this.#skipped });
    this.#skipped = skipped;
  }
}

/** After every step: the scale, and whether the step was skipped. */
export async function curve() {
  seedEverything(0);
  const x = randn(2048, 64);
  const data = new TensorDataset(x, x.narrow(1, 0, 10).argmax(1));
  const seen = new Curve();
  const trainer = new Trainer({
    accelerator: "cpu",
    plugins: new MixedPrecision({ scaler: SETTINGS }),
    maxSteps: STEPS,
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
    callbacks: seen,
  });
  await trainer.fit(new Net(), { trainDataloaders: new DataLoader(data, { batchSize: 64, shuffle: true }) });
  return seen.steps;
}

const BOX = { left: 56, right: 600, top: 56, bottom: 260 };

export function draw(steps, theme) {
  const powers = steps.map(({ scale }) => Math.log2(scale));
  const [low, high] = [
    Math.floor(Math.min(...powers)) - 1,
    Math.ceil(Math.max(...powers, Math.log2(SETTINGS.initScale))) + 1,
  ];
  const x = (i) => BOX.left + ((BOX.right - BOX.left) * i) / steps.length;
  const y = (power) => BOX.bottom - ((BOX.bottom - BOX.top) * (power - low)) / (high - low);
  const body = [];
  for (let power = low; power <= high; power += 2)
    body.push(
      el("path", { d: `M${BOX.left} ${y(power)} H${BOX.right}`, stroke: theme.line }) +
        el(
          "text",
          { x: BOX.left - 8, y: y(power) + 5, "text-anchor": "end", fill: theme.quiet, "font-size": 12 },
          `2${el("tspan", { dy: -5, "font-size": 9 }, power)}`,
        ),
    );
  for (let step = 0; step <= steps.length; step += 40)
    body.push(label(x(step), BOX.bottom + 20, step, { "text-anchor": "middle", fill: theme.quiet, "font-size": 12 }));
  let path = `M${x(0).toFixed(1)} ${y(Math.log2(SETTINGS.initScale)).toFixed(1)}`;
  powers.forEach((power, i) => (path += ` V${y(power).toFixed(1)} H${x(i + 1).toFixed(1)}`));
  body.push(el("path", { d: path, fill: "none", stroke: theme.full, "stroke-width": 2 }));
  steps.forEach(({ skipped }, i) => {
    if (skipped)
      body.push(
        el("circle", {
          cx: x(i),
          cy: y(i === 0 ? Math.log2(SETTINGS.initScale) : powers[i - 1]),
          r: 4,
          fill: theme.bad,
        }),
      );
  });
  const skipped = steps.filter((step) => step.skipped).length;
  body.push(
    label(BOX.left, 26, "Loss scale", { "font-weight": 600, "font-size": 16 }),
    el("circle", { cx: 388, cy: 21, r: 4, fill: theme.bad }) +
      label(400, 26, `overflow: skipped, halved (${skipped})`, { fill: theme.quiet, "font-size": 12 }),
    label((BOX.left + BOX.right) / 2, BOX.bottom + 42, `step; doubled after ${SETTINGS.growthInterval} good ones`, {
      "text-anchor": "middle",
      fill: theme.quiet,
      "font-size": 12,
    }),
  );
  return picture({
    width: 620,
    height: BOX.bottom + 58,
    title: "The loss scale of a run in float16",
    about: `It begins at 2^${Math.log2(SETTINGS.initScale)}, ${skipped} of ${steps.length} steps overflow and are skipped, and ends at 2^${powers.at(-1)}.`,
    theme,
    body,
  });
}
