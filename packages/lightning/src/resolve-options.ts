/** From the options that were given to those that a Trainer runs with. */
import { checkOptions, withDefaults, type Filled } from "@nbit/torch";
import { nearest } from "@nbit/torch/names";
import { MisconfigurationError } from "./errors.js";
import { ROWS } from "./trainer-option-rows.js";
import type { TrainerOptions } from "./trainer-options.js";

/** Options with their defaults, checked. Undefined: those without one. */
export interface ResolvedOptions extends Omit<Filled<TrainerOptions, typeof ROWS>, "detectNonFinite" | "fastDevRun"> {
  readonly detectNonFinite: false | "loss" | "step" | "gradients";
  /** Number of batches, or false. */
  readonly fastDevRun: number | false;
}

/** Options of Lightning's Trainer that this one has under another name, or does not need. */
const UNSUPPORTED_OPTIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    gpus: 'Use accelerator: "cuda" and devices: 1.',
    replaceSamplerDdp: "Use useDistributedSampler.",
    amp: "Use precision: 16.",
    fp16: "Use precision: 16.",
    bf16: 'Use precision: "bf16".',
    resumeFromCheckpoint: "Pass ckptPath to fit.",
    modelRegistry: "There is no registry: checkpoints are files, and ckptPath is their path.",
  }),
);

/**
 * Checks every option and fills in defaults. Nothing is started.
 * @throws {MisconfigurationError} `Trainer: expected the option maxEpochs. Received: "max_epochs".`
 */
export function resolveOptions(given: TrainerOptions): ResolvedOptions {
  checkOptions("Trainer", given, ROWS, (expected, received, fix) => {
    const replacement = replacementFor(given, received);
    return new MisconfigurationError(
      "Trainer",
      replacement === undefined ? expected : "an option that it has",
      received,
      replacement ?? fix,
      "ERR_TRAINER_OPTION",
    );
  });
  const options = given.barebones === true ? { ...given, ...bare(given) } : given;
  const { fastDevRun, detectNonFinite, numSanityValSteps, ...rest } = withDefaults(options, ROWS);
  checkActivations(rest);
  checkAnomalies(given);
  const { overfitBatches, detectAnomaly } = rest;
  const batches = fastDevRun === true ? 1 : fastDevRun;
  return {
    ...rest,
    numSanityValSteps: numSanityValSteps === -1 ? Infinity : numSanityValSteps,
    detectNonFinite: detectNonFinite === true ? "loss" : detectNonFinite,
    fastDevRun: batches,
    ...(batches === false ? {} : onlyTrying(batches, rest.checkValEveryNEpoch)),
    // Only operators that run one by one can be looked at.
    ...(detectAnomaly ? { replay: false } : {}),
    ...(overfitBatches === 0 ? {} : { limitTrainBatches: overfitBatches, limitValBatches: overfitBatches }),
  };
}

function checkAnomalies({ detectAnomaly, cudaGraph, replay }: TrainerOptions): void {
  if (detectAnomaly !== true || (cudaGraph !== true && replay !== true)) return;
  throw new MisconfigurationError(
    "Trainer",
    `no ${cudaGraph === true ? "cudaGraph" : "replay"} with detectAnomaly`,
    true,
    "A recorded step has no operators to look at.",
    "ERR_DETECT_ANOMALY",
  );
}

/** A recorded step has one way through memory. */
function checkActivations(
  options: Pick<ResolvedOptions, "activationCheckpointing" | "activationOffloading" | "cudaGraph">,
): void {
  const { activationCheckpointing, activationOffloading, cudaGraph } = options;
  if (!cudaGraph || (activationCheckpointing.length === 0 && !activationOffloading)) return;
  const name = activationOffloading ? "activationOffloading" : "activationCheckpointing";
  throw new MisconfigurationError(
    "Trainer",
    `cudaGraph: false with ${name}`,
    cudaGraph,
    "A recorded graph neither runs modules again nor moves activations.",
    "ERR_ACTIVATION_GRAPH",
  );
}

/** What `barebones` switches off. */
const BARE = {
  enableCheckpointing: false,
  logger: false,
  runLog: false,
  enableProgressBar: false,
  logEveryNSteps: 0,
  enableModelSummary: false,
  numSanityValSteps: 0,
  detectNonFinite: false,
  profiler: null,
} as const satisfies TrainerOptions;

/** @throws {MisconfigurationError} ERR_BAREBONES: an option asks for what is left out. */
function bare(given: TrainerOptions): TrainerOptions {
  const refuse = (name: string, received: unknown): never => {
    throw new MisconfigurationError(
      "Trainer",
      `no ${name} with barebones`,
      received,
      "It costs time beside training. Leave out one of the two.",
      "ERR_BAREBONES",
    );
  };
  for (const [name, off] of Object.entries(BARE)) {
    const value: unknown = Reflect.get(given, name);
    if (value !== undefined && value !== off) refuse(name, value);
  }
  if (given.fastDevRun !== undefined && given.fastDevRun !== false) refuse("fastDevRun", given.fastDevRun);
  if (given.detectAnomaly === true) refuse("detectAnomaly", true);
  return BARE;
}

/** What `fastDevRun` puts in the place of other options: one epoch of so many batches of everything. */
function onlyTrying(batches: number, checkValEveryNEpoch: number | null): Partial<ResolvedOptions> {
  return {
    maxEpochs: 1,
    maxSteps: batches,
    limitTrainBatches: batches,
    limitValBatches: batches,
    limitTestBatches: batches,
    limitPredictBatches: batches,
    valCheckInterval: undefined,
    checkValEveryNEpoch: checkValEveryNEpoch === null ? null : 1,
    numSanityValSteps: 0,
    logger: false,
  };
}

/** What to use instead of an option of Lightning's, where it is the name of an option that is refused. */
function replacementFor(options: unknown, received: unknown): string | undefined {
  if (typeof received !== "string" || typeof options !== "object" || options === null || !(received in options))
    return undefined;
  return UNSUPPORTED_OPTIONS.get(nearest(received, UNSUPPORTED_OPTIONS.keys(), 0) ?? "");
}
