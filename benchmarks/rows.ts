/** What is compared with what, and how well we want to do. */
export interface Side {
  readonly who: "nbit" | "baseline";
  readonly args: readonly string[];
  /** Flags of Node.js. */
  readonly node?: readonly string[];
}
export interface Row {
  readonly name: string;
  readonly threads: number;
  readonly nbit: Side;
  readonly baseline: Side;
  /** What the other side is, for the table. */
  readonly against: string;
  /** The ratio nbit / baseline that we want at most. Null: for information. */
  readonly target: number | null;
  readonly unit: "µs" | "ms";
  /** The same seed must give the same losses, to this relative difference; null where nothing is computed. */
  readonly sameLoss: number | null;
  /** Bytes of state: the ratio nbit / baseline that we want at most. */
  readonly stateTarget?: number;
  /** Why a target is out of reach on some machines. */
  readonly caveat?: (machine: { readonly nativeBf16: boolean }) => string | null;
}

interface StepOptions {
  readonly model: "mlp" | "medium-mlp" | "large-mlp" | "transformer";
  readonly nbit: "trainer" | "loop";
  readonly baseline: "trainer" | "loop";
  readonly optimizer: "default" | "fused";
  readonly precision?: "32" | "bf16";
  readonly steps: number;
  readonly target: number | null;
  /** The first steps of a process, without warm-up. */
  readonly cold?: boolean;
}
const TITLES = {
  mlp: "small MLP step",
  "medium-mlp": "medium MLP step (B64, 256→512→512)",
  "large-mlp": "large MLP step (B512, 1024→2048→2048)",
  transformer: "2-layer transformer step (B8)",
} as const;

function step(threads: number, o: StepOptions): Row {
  const precision = o.precision ?? "32";
  const side = (who: Side["who"], how: string): Side => ({
    who,
    args: [
      "step",
      o.model,
      how,
      o.optimizer,
      precision,
      String(threads),
      String(o.steps),
      ...(o.cold === true ? ["cold"] : []),
    ],
  });
  return {
    name: `${TITLES[o.model]}${precision === "bf16" ? " bf16" : o.model === "large-mlp" ? " fp32" : ""}, ${o.optimizer} AdamW, our ${o.nbit === "trainer" ? "Trainer" : "loop"}${o.cold === true ? `, the first ${o.steps.toLocaleString("en")} steps of a process` : ""}`,
    threads,
    nbit: side("nbit", o.nbit),
    baseline: side("baseline", o.baseline),
    against: o.baseline === "trainer" ? "Lightning Trainer" : "PyTorch loop",
    target: o.target,
    unit: o.model === "mlp" ? "µs" : "ms",
    sameLoss: 1e-4,
  };
}

/** One thread count's rows. `quick` leaves fewer steps and the rows that newcomers look at first. */
export function rowsFor(threads: number, quick: boolean, nativeBf16: boolean): Row[] {
  // V8 compiles a training step while it runs, to its end after one or two thousand steps; a fourth of the steps warm
  // up.
  const small = quick ? 2000 : 6000;
  const medium = quick ? 200 : 800;
  const large = 6;
  // Where bfloat16 is emulated a step of the large one takes a quarter of a minute, so 16 bits are measured on less.
  const sixteen = nativeBf16 ? "large-mlp" : "medium-mlp";
  const rows: Row[] = [
    {
      name: "one operator, call to result: add 4×4, no grad",
      threads,
      nbit: { who: "nbit", args: ["add", String(threads)] },
      baseline: { who: "baseline", args: ["add", String(threads)] },
      against: "PyTorch",
      target: 0.8,
      unit: "µs",
      sameLoss: 0,
    },
    step(threads, {
      model: "mlp",
      nbit: "trainer",
      baseline: "trainer",
      optimizer: "fused",
      steps: small,
      target: 0.25,
    }),
    step(threads, { model: "mlp", nbit: "trainer", baseline: "loop", optimizer: "fused", steps: small, target: 0.6 }),
    step(threads, {
      model: "mlp",
      nbit: "trainer",
      baseline: "trainer",
      optimizer: "fused",
      steps: 1000,
      target: null,
      cold: true,
    }),
    step(threads, {
      model: "transformer",
      nbit: "trainer",
      baseline: "trainer",
      optimizer: "fused",
      steps: medium,
      target: 0.7,
    }),
  ];
  if (!quick) {
    rows.push(
      step(threads, {
        model: "mlp",
        nbit: "trainer",
        baseline: "trainer",
        optimizer: "default",
        steps: small,
        target: 0.25,
      }),
      step(threads, { model: "mlp", nbit: "loop", baseline: "loop", optimizer: "default", steps: small, target: 0.6 }),
      step(threads, {
        model: "large-mlp",
        nbit: "trainer",
        baseline: "loop",
        optimizer: "fused",
        steps: large,
        target: 1,
      }),
      step(threads, {
        model: sixteen,
        nbit: "trainer",
        baseline: "loop",
        optimizer: "fused",
        precision: "bf16",
        steps: large,
        target: 1,
      }),
    );
  }
  if (!quick)
    for (const [model, steps] of [
      ["mlp", small],
      ["transformer", medium],
      [sixteen, 16],
    ] as const) {
      const casts = (...flags: string[]): Side => ({
        who: "nbit",
        args: ["step", model, "trainer", "fused", "bf16", String(threads), String(steps), "accumulate", ...flags],
      });
      rows.push({
        name: `cacheWeightCasts, ${TITLES[model].replace("step", "batch")} bf16, 4 batches to a step`,
        threads,
        nbit: casts("casts"),
        baseline: casts(),
        against: "our own without",
        target: null,
        unit: model === "mlp" ? "µs" : "ms",
        sameLoss: 0,
      });
    }
  const ofNbit = (precision: string, steps: number): Side => ({
    who: "nbit",
    args: ["step", sixteen, "trainer", "fused", precision, String(threads), String(steps)],
  });
  // What is asked for is asked for on two cores.
  for (const on of threads === 2 ? [2] : [threads, 2])
    rows.push({
      name: "AdamW8bit step, 10⁷ elements",
      threads: on,
      nbit: { who: "nbit", args: ["optimizer", "AdamW8bit", String(on)] },
      baseline: { who: "baseline", args: ["optimizer", String(on)] },
      against: "PyTorch fused AdamW, float32",
      target: 1.3,
      unit: "ms",
      sameLoss: null,
      stateTarget: 0.27,
    });
  if (!quick && threads === 1)
    rows.push({
      name: "AdamW8bit step, 10⁷ elements, fused kernel",
      threads,
      nbit: { who: "nbit", args: ["optimizer", "AdamW8bit", String(threads)] },
      baseline: { who: "nbit", args: ["optimizer", "reference", String(threads)] },
      against: "our ATen reference",
      target: 0.1,
      unit: "ms",
      sameLoss: 1e-3,
    });
  rows.push({
    name: `bf16 over fp32, ${TITLES[sixteen]}, our Trainer`,
    threads,
    nbit: ofNbit("bf16", large),
    baseline: ofNbit("32", large),
    against: "our own fp32",
    target: 1 / 1.8,
    unit: "ms",
    sameLoss: null,
    caveat: ({ nativeBf16 }) =>
      nativeBf16
        ? null
        : "this processor has no bfloat16 arithmetic (AVX512-BF16 or AMX): libtorch converts to float32 and back, so the target cannot be reached here",
  });
  if (threads === 1) {
    rows.push({
      name: "first import, to the first tensor",
      threads,
      nbit: { who: "nbit", args: ["import"] },
      baseline: { who: "baseline", args: ["import"] },
      against: "import torch, lightning",
      target: null,
      unit: "ms",
      sameLoss: null,
    });
  }
  return rows;
}
