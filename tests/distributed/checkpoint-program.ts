/** One rank of a training that a test starts, with what it is to do as JSON in its argument; says what became of it. */
import { InterruptError, ModelCheckpoint, type Callback } from "@nbit/lightning";
import { clusterEnvironment } from "@nbit/torch/distributed";
import { fingerprint, run, SaveAfter, type NetOptions } from "./checkpoint-run.js";

export interface Task {
  readonly batch?: number;
  readonly net?: NetOptions;
  readonly precision?: 64;
  readonly maxEpochs?: number;
  readonly maxSteps?: number;
  readonly accumulateGradBatches?: number;
  readonly save?: { readonly after: number; readonly path: string; readonly rank?: number };
  readonly resume?: string;
  /** A folder of checkpoints, one every second step. */
  readonly checkpoints?: string;
  /** Rank and step at which it ends by SIGKILL, unless it was started again. */
  readonly kill?: { readonly rank: number; readonly step: number };
}
export interface Outcome {
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly ckptPath: string | null;
  readonly losses: readonly number[];
  readonly samples: readonly (readonly number[])[];
  readonly weights: readonly number[];
  readonly fingerprint: string;
}

const task = JSON.parse(process.argv[2] ?? "{}") as Task;
const { rank, worldSize: world, restartCount } = clusterEnvironment() ?? { rank: 0, worldSize: 1, restartCount: 0 };
const { save, checkpoints, resume, kill, batch = 16, net = {}, ...trainer } = task;
const callbacks: Callback[] = [];
if (save !== undefined && (save.rank ?? rank) === rank) callbacks.push(new SaveAfter(save.after, save.path));
if (checkpoints !== undefined)
  callbacks.push(new ModelCheckpoint({ dirpath: checkpoints, everyNTrainSteps: 2, saveLast: true }));
const dies = kill?.rank === rank && restartCount === 0;
let outcome: Outcome;
try {
  const { module, trainer: of } = await run({
    rank,
    world,
    batch,
    net: { ...net, ...(dies ? { killAt: kill.step } : {}) },
    trainer: { ...trainer, callbacks },
    fit: resume === undefined ? {} : { ckptPath: resume },
  });
  outcome = {
    error: null,
    ckptPath: of.ckptPath,
    losses: module.losses,
    samples: module.samples,
    weights: [...module.parameters()].flatMap((p) => Array.from(p.detach().double().toTypedArray() as Float64Array)),
    fingerprint: fingerprint(module),
  };
} catch (error) {
  if (!(error instanceof Error) || error instanceof InterruptError) throw error;
  const code = "code" in error ? String(error.code) : error.name;
  const nothing = { ckptPath: null, losses: [], samples: [], weights: [], fingerprint: "" };
  outcome = { error: { code, message: error.message }, ...nothing };
}
// Under a supervisor the ranks share one screen, where a line as long as this is written in pieces.
if (process.env["NBIT_LAUNCHER"] === undefined || process.env["RANK"] === "0")
  console.log(`outcome ${JSON.stringify(outcome)}`);
if (outcome.error !== null) process.exit(1);
