import { program } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { eachTensor } from "../collections.js";
import type { LightningModule } from "../module.js";
import type { Strategy } from "../strategies/strategy.js";
import type { Batch } from "../types.js";
import type { WarnOnce } from "../warnings.js";

/**
 * "auto": steps on the CPU are replayed where they can be. true: the same, with a warning that says why where they
 * cannot. false: never.
 */
export type Replay = boolean | "auto";

/** Recordings that are kept: of batches of so many shapes, in each of their roles in a window. */
const MOST = 8;
const MOST_SEEN = 1000;
/** Steps in a row that left their recording before it is made anew; how often that is done. */
const PATIENCE = 8;

interface Recording {
  step: program.FollowedStep;
  /** Steps in a row that left it. */
  leaves: number;
  /** How often it was made anew. */
  again: number;
}

/** What became of the steps of a run. */
export interface ReplaySummary {
  /** Batches whose forward and backward were replayed, and all that were trained on. */
  readonly replayed: number;
  readonly batches: number;
  /** Why the first that was not replayed was not; null: all were, but for the first of each shape. */
  readonly reason: string | null;
}

export interface StepReplaysParts {
  readonly mode: Replay;
  readonly module: LightningModule;
  readonly device: string;
  readonly strategy: Strategy | null;
  readonly warnings: WarnOnce;
}

/**
 * Forward and backward of batches, recorded for each signature (dtypes and shapes of the batch, its role in a window)
 * at its second batch, and replayed from the third on. JavaScript runs every time: logs, hooks and what the module
 * counts are as ever.
 */
export class StepReplays {
  readonly #mode: Replay;
  readonly #warnings: WarnOnce;
  /** By signature, the latest used last. */
  readonly #recordings = new Map<string, Recording>();
  /** Signatures of one batch so far. */
  readonly #seen = new Set<string>();
  /** By role. */
  readonly #latest: (Recording | null)[] = [];
  #open: Recording | null = null;
  #obstacle: string | null;
  #reason: string | null = null;
  #replayed = 0;
  #batches = 0;
  #evicted = 0;
  #over = false;

  constructor(parts: StepReplaysParts) {
    this.#mode = parts.mode;
    this.#warnings = parts.warnings;
    this.#obstacle = obstacleOf(parts);
    if (this.#obstacle !== null && this.#mode === true) this.#warn(this.#obstacle);
  }

  #warn(reason: string): void {
    this.#warnings.warn("WARN_NO_REPLAY", `replay: steps run eagerly: ${reason}.`);
  }

  /** Forward of a batch begins. `opensWindow`: no gradients are there. */
  open(batch: Batch, opensWindow: boolean, windowEnds: boolean): void {
    this.#batches++;
    if (this.#obstacle !== null || this.#over) return;
    const inputs: Tensor[] = [];
    eachTensor(batch, (t) => inputs.push(t));
    const role = (opensWindow ? 1 : 0) + (windowEnds ? 2 : 0);
    // Nearly always it is as the one before; asking tensors for their shapes costs more than trying.
    const latest = this.#latest[role] ?? null;
    if (latest !== null && latest.step.open(inputs)) {
      this.#open = latest;
      return;
    }
    const recording = this.#of(
      inputs.reduce((signature, t) => `${signature}|${t.dtype}[${t.shape.join()}]`, String(role)),
    );
    if (recording === null || this.#obstacle !== null) return;
    this.#latest[role] = recording;
    if (recording.step.open(inputs)) this.#open = recording;
  }

  #of(signature: string): Recording | null {
    const known = this.#recordings.get(signature);
    if (known !== undefined) {
      if (this.#recordings.size > 1) {
        this.#recordings.delete(signature);
        this.#recordings.set(signature, known);
      }
      return known;
    }
    if (!this.#seen.delete(signature)) {
      if (this.#seen.size < MOST_SEEN) this.#seen.add(signature);
      return null;
    }
    const made = { step: new program.FollowedStep(), leaves: 0, again: 0 };
    this.#recordings.set(signature, made);
    if (this.#recordings.size > MOST) this.#evict();
    return made;
  }

  #evict(): void {
    const oldest = this.#recordings.entries().next().value;
    if (oldest === undefined) return;
    const [signature, recording] = oldest;
    this.#recordings.delete(signature);
    recording.step.dispose();
    this.#latest.length = 0;
    this.#evicted++;
    const reason = `batches have more than ${MOST} shapes`;
    this.#reason = reason;
    if (this.#evicted < MOST) return;
    this.#warnings.warn(
      "WARN_REPLAY_SHAPES",
      `replay: ${reason}, and recordings of steps are dropped before they are used again. Pad batches to a few lengths (bucketing), or set replay: false.`,
    );
    // A recording that is not used costs more than it saves.
    if (this.#replayed < this.#evicted * PATIENCE) this.#giveUp(reason);
  }

  /** Backward has run. */
  close(): void {
    const recording = this.#open;
    if (recording === null) return;
    this.#open = null;
    const end = recording.step.close();
    if (end === "recorded") return;
    if (end === "replayed") {
      this.#replayed++;
      recording.leaves = 0;
      return;
    }
    const enough = end === "refused" || ++recording.leaves === PATIENCE;
    // The line is looked up for the first, and where there will be no more.
    if (enough || this.#reason === null) this.#reason = recording.step.steps.reason;
    if (!enough) return;
    // What steps do may have changed for good: a layer thaws, another mode begins.
    if (end === "refused" || ++recording.again === PATIENCE) return this.#giveUp(this.#reason ?? end);
    recording.step.dispose();
    recording.step = new program.FollowedStep();
    recording.leaves = 0;
  }

  #giveUp(reason: string): void {
    this.#obstacle = this.#reason = reason;
    if (this.#mode === true) this.#warn(reason);
    this.#dispose();
  }

  /** Something else comes that needs memory. */
  rest(): void {
    if (this.#recordings.size > 0) program.FollowedStep.rest();
  }

  get summary(): ReplaySummary {
    return { replayed: this.#replayed, batches: this.#batches, reason: this.#obstacle ?? this.#reason };
  }

  /** The run is over. */
  end(): void {
    this.#over = true;
    this.#dispose();
  }
  #dispose(): void {
    for (const { step } of this.#recordings.values()) step.dispose();
    this.#latest.length = 0;
    this.#recordings.clear();
  }
}

/** For `explain`: a phrase. */
export function describeReplays({ replayed, batches, reason }: ReplaySummary): string | null {
  if (batches === 0) return reason === null ? null : `eagerly: ${reason}`;
  if (replayed === 0) return `eagerly${reason === null ? "" : `: ${reason}`}`;
  const others = reason === null ? "the others were recorded" : `others ran eagerly: ${reason}`;
  return `${replayed} of ${batches} batches replayed${replayed === batches ? "" : `; ${others}`}`;
}

function obstacleOf({ mode, module, device, strategy }: StepReplaysParts): string | null {
  if (mode === false) return "replay is false";
  if (device !== "cpu") return `the run is on ${device}`;
  if (strategy !== null && (strategy.collectives ?? null) !== null) return "processes exchange gradients";
  if (!module.automaticOptimization) return "manual optimization decides what is differentiated, and when";
  return null;
}
