/** What autocast does: the operators of a small transformer's forward pass, each in the lane of the dtype it ran in. */
import { LightningModule, PrecisionReport, Trainer } from "@nbit/lightning";
import { crossEntropyLoss, manualSeed, nn, optim, randint } from "@nbit/torch";
import { el, label, picture } from "./svg.mjs";

const WIDTH = 64;

/** One operator as a module, so that the report tells it apart. */
class Operator extends nn.Module {
  constructor(apply) {
    super();
    this.apply_ = apply;
  }
  forward(...inputs) {
    return this.apply_(...inputs);
  }
}

class Block extends LightningModule {
  embedding = new nn.Embedding(50, WIDTH);
  norm1 = new nn.LayerNorm(WIDTH);
  queries = new nn.Linear(WIDTH, WIDTH);
  attention = new Operator((q) => nn.functional.scaledDotProductAttention(q, q, q));
  projection = new nn.Linear(WIDTH, WIDTH);
  add1 = new Operator((a, b) => a.add(b));
  norm2 = new nn.LayerNorm(WIDTH);
  up = new nn.Linear(WIDTH, 4 * WIDTH);
  activation = new nn.GELU();
  down = new nn.Linear(4 * WIDTH, WIDTH);
  add2 = new Operator((a, b) => a.add(b));
  head = new nn.Linear(WIDTH, 50);
  loss = new Operator((scores, y) => crossEntropyLoss(scores.flatten(0, 1), y.flatten()));

  trainingStep([x, y]) {
    const embedded = this.embedding.forward(x);
    const attended = this.attention.forward(this.queries.forward(this.norm1.forward(embedded)));
    const stream = this.add1.forward(embedded, this.projection.forward(attended));
    const wide = this.activation.forward(this.up.forward(this.norm2.forward(stream)));
    return this.loss.forward(this.head.forward(this.add2.forward(stream, this.down.forward(wide))), y);
  }
  configureOptimizers() {
    return new optim.SGD(this.parameters(), { lr: 0.1 });
  }
}

/** What residual additions add beside what stands above them. */
const BESIDE = { add1: "embedding", add2: "add1" };
const NAMES = {
  scaled_dot_product_attention: "attention",
  cross_entropy_loss: "cross entropy",
  layer_norm: "layer norm",
};
const WHY = {
  lower: "fast in 16 bits",
  float32: "needs the digits",
  promote: "the wider of its inputs",
  input: "as its input comes",
};
/** Autocast leaves additions alone: the wider dtype wins, as it always does. */
const whyOf = ({ name, reason }) => (name === "add" && reason === "input" ? WHY.promote : (WHY[reason] ?? reason));

/** The forward operators in their order: `{ module, name, dtype, reason, casts }`. */
export async function operators() {
  manualSeed(0);
  const report = new PrecisionReport({ step: 0, print: false });
  const trainer = new Trainer({
    accelerator: "cpu",
    precision: "bf16",
    maxSteps: 1,
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    enableModelSummary: false,
    callbacks: report,
  });
  const batch = [randint(50, [4, 16]), randint(50, [4, 16])];
  await trainer.fit(new Block(), { trainDataloaders: [batch] });
  return report.latest.modules
    .filter(({ name }) => name !== "")
    .map(({ name: module, operators }) => {
      const forward = operators.filter(({ phase, reason }) => phase === "forward" && reason !== "cast");
      const main = forward.find(({ name }) => !/view|reshape|flatten|transpose/.test(name));
      const { name, dtype, reason, casts } = main;
      return { module, name, dtype, reason, casts };
    });
}

const ROW = 44;
const TOP = 78;
const LANES = { bfloat16: 20, float32: 320 };
const BOX = { width: 180, height: 28 };

export function draw(rows, theme) {
  const y = (i) => TOP + i * ROW;
  const center = (i) => LANES[rows[i].dtype] + 20 + BOX.width / 2;
  const height = y(rows.length) + 16;
  const body = Object.entries(LANES).map(
    ([dtype, x]) =>
      el("rect", {
        x,
        y: 12,
        width: 280,
        height: height - 24,
        rx: 10,
        fill: dtype === "float32" ? theme.fullFill : theme.lowFill,
      }) +
      label(x + 20, 42, dtype, {
        "font-weight": 600,
        "font-size": 16,
        fill: dtype === "float32" ? theme.full : theme.low,
      }),
  );
  body.push(
    el("path", { d: "M508 37 H538", stroke: theme.text, "stroke-width": 2, "stroke-dasharray": "4 3" }) +
      label(546, 42, "a cast", { fill: theme.quiet, "font-size": 12 }),
  );
  rows.forEach((row, i) => {
    if (i > 0)
      body.push(flow(center(i - 1), y(i - 1) + BOX.height, center(i), y(i), rows[i - 1].dtype !== row.dtype, theme));
    const beside = rows.findIndex(({ module }) => module === BESIDE[row.module]);
    if (beside >= 0) {
      const x = LANES[row.dtype] + 20;
      const [from, to] = [y(beside) + BOX.height / 2, y(i) + BOX.height / 2];
      body.push(
        el("path", {
          d: `M${x} ${from} C${x - 26} ${from} ${x - 26} ${from + 20} ${x - 26} ${(from + to) / 2} S${x - 26} ${to} ${x} ${to}`,
          fill: "none",
          stroke: theme.full,
          "stroke-width": 1.5,
        }),
      );
    }
  });
  rows.forEach((row, i) => {
    const x = LANES[row.dtype] + 20;
    const colour = row.dtype === "float32" ? theme.full : theme.low;
    body.push(
      el("rect", { x, y: y(i), width: BOX.width, height: BOX.height, rx: 6, fill: theme.surface, stroke: colour }) +
        label(x + BOX.width / 2, y(i) + 19, NAMES[row.name] ?? row.name, {
          "text-anchor": "middle",
          "font-weight": 600,
        }),
    );
    const other = row.dtype === "float32" ? LANES.bfloat16 : LANES.float32;
    const anchor = row.dtype === "float32" ? { x: other + 262, anchor: "end" } : { x: other + 18, anchor: "start" };
    body.push(
      label(anchor.x, y(i) + 19, whyOf(row), { "text-anchor": anchor.anchor, "font-size": 12, fill: theme.quiet }),
    );
  });
  return picture({
    width: 620,
    height,
    title: "What autocast does: the operators of a transformer block, by the dtype that each ran in",
    about: rows.map(({ name, dtype }) => `${name}: ${dtype}`).join(", "),
    theme,
    body,
  });
}

/** A line from one operator to the next; dashed where autocast casts on the way. */
function flow(x1, y1, x2, y2, cast, theme) {
  const middle = (y1 + y2) / 2;
  return el("path", {
    d: x1 === x2 ? `M${x1} ${y1} V${y2}` : `M${x1} ${y1} C${x1} ${middle + 4} ${x2} ${middle - 4} ${x2} ${y2}`,
    fill: "none",
    stroke: cast ? theme.text : theme.quiet,
    "stroke-width": cast ? 2 : 1.5,
    ...(cast ? { "stroke-dasharray": "4 3" } : {}),
  });
}
