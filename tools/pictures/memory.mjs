/** Memory of one training step of GPT-2 124M by precision, as measured on an H200, split by what is known exactly. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../workspace.mjs";
import { el, label, picture } from "./svg.mjs";

export const SOURCE = "benchmarks/results/2026-11-24-nvidia-h200.json";
/** GPT-2 with 50,304 words: embeddings of words and places, 12 blocks of 12·768² + 13·768, a last norm. */
const D = 768;
const PARAMETERS = 50304 * D + 1024 * D + 12 * (12 * D * D + 13 * D) + 2 * D;

/** Bytes for each parameter: weights, gradients, and AdamW's two moments. */
const ROWS = [
  { precision: "32", title: "32", bytes: [4, 4, 8] },
  { precision: "bf16", title: "bf16", bytes: [4, 4, 8] },
  { precision: "16", title: "16", bytes: [4, 4, 8] },
  { precision: "bf16, AdamW8bit", title: "bf16, AdamW8bit", bytes: [4, 4, 2] },
  { precision: "bf16-true", title: "bf16-true", bytes: [2, 2, 4] },
];

/** GiB of each row: weights, gradients, optimizer, the rest; and Lightning's in all, where it was measured. */
export function rows() {
  const { measurements } = JSON.parse(readFileSync(join(root, SOURCE), "utf8"));
  return ROWS.map(({ precision, title, bytes }) => {
    const of = (side) => {
      const found = measurements.find(
        (m) => m.side === side && m.model === "gpt2" && m.precision === precision && m.mode === "eager",
      );
      return found === undefined ? null : found.allocatedMiB / 1024;
    };
    const known = bytes.map((each) => (each * PARAMETERS) / 2 ** 30);
    const whole = of("nbit");
    if (whole === null) throw new Error(`${SOURCE} has no gpt2 in ${precision}`);
    return { title, parts: [...known, whole - known.reduce((a, b) => a + b)], whole, lightning: of("lightning") };
  });
}

const PARTS = ["weights", "gradients", "optimizer", "activations and the rest"];
const LEFT = 146;
const RIGHT = 560;
const ROW = 42;
const TOP = 84;

export function draw(all, theme) {
  const most = Math.ceil(Math.max(...all.flatMap(({ whole, lightning }) => [whole, lightning ?? 0])));
  const x = (gib) => LEFT + ((RIGHT - LEFT) * gib) / most;
  const fills = [theme.full, theme.other, theme.low, theme.quiet];
  const bottom = TOP + all.length * ROW;
  const body = [label(16, 26, "GPT-2 124M, 8 × 1024 tokens: GiB of a step", { "font-weight": 600, "font-size": 16 })];
  let at = 16;
  PARTS.forEach((part, i) => {
    body.push(
      el("rect", { x: at, y: 42, width: 11, height: 11, rx: 2, fill: fills[i] }) +
        label(at + 16, 52, part, { fill: theme.quiet, "font-size": 12 }),
    );
    at += 30 + part.length * 6.6;
  });
  body.push(
    el("path", { d: `M${at + 4} 40 V55`, stroke: theme.text, "stroke-width": 3 }) +
      label(at + 12, 52, "Lightning", { fill: theme.quiet, "font-size": 12 }),
  );
  for (let gib = 0; gib <= most; gib += 2)
    body.push(
      el("path", { d: `M${x(gib)} ${TOP - 8} V${bottom}`, stroke: theme.line }) +
        label(x(gib), bottom + 18, gib, { "text-anchor": "middle", fill: theme.quiet, "font-size": 12 }),
    );
  all.forEach(({ title, parts, whole, lightning }, i) => {
    const y = TOP + i * ROW;
    body.push(label(LEFT - 10, y + 18, title, { "text-anchor": "end" }));
    let from = 0;
    parts.forEach((gib, part) => {
      body.push(el("rect", { x: x(from), y, width: x(from + gib) - x(from), height: 26, fill: fills[part] }));
      from += gib;
    });
    if (lightning !== null)
      body.push(el("path", { d: `M${x(lightning)} ${y - 3} V${y + 29}`, stroke: theme.text, "stroke-width": 3 }));
    const end = Math.max(x(whole), lightning === null || lightning - whole > 1 ? 0 : x(lightning));
    body.push(label(end + 8, y + 18, whole.toFixed(1), { "font-weight": 600, "font-size": 13 }));
  });
  body.push(
    label(
      16,
      bottom + 42,
      "H200, 2026-11-24: the most that tensors held. Weights, gradients and optimizer are computed.",
      { fill: theme.quiet, "font-size": 12 },
    ),
  );
  return picture({
    width: 620,
    height: bottom + 56,
    title: "Memory of a training step of GPT-2 124M by precision",
    about: all
      .map(
        ({ title, whole, lightning }) =>
          `${title}: ${whole.toFixed(1)} GiB${lightning === null ? "" : `, Lightning ${lightning.toFixed(1)}`}`,
      )
      .join("; "),
    theme,
    body,
  });
}
