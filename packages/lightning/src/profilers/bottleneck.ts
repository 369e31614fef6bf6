/** What a training run waits for: data, the host that starts operators, or their computing. */
import { atMost, checkArguments, cuda, kinds, profiler } from "@nbit/torch";
import { formatSeconds } from "@nbit/torch/format";

/** What was measured of a run. Times in seconds. */
export interface BottleneckFigures {
  readonly batches: number;
  /** Waiting for batches of the loader. */
  readonly dataSeconds: number;
  /** Forward, backward and step. */
  readonly batchSeconds: number;
  /** Of a few batches that were looked at more closely; null: of none. */
  readonly probe: ProbeFigures | null;
}
export type ProbeFigures =
  | {
      readonly kind: "operators";
      readonly batches: number;
      readonly seconds: number;
      /** At the top level: what JavaScript, or a backward, called. */
      readonly operators: number;
      readonly operatorSeconds: number;
    }
  | {
      readonly kind: "device";
      readonly batches: number;
      readonly seconds: number;
      /** For the GPU, after everything was launched. */
      readonly waitSeconds: number;
    }
  | { readonly kind: "replayed"; readonly batches: number };

export interface Bottleneck {
  readonly kind: "data" | "launch" | "compute" | "unknown";
  /** The share, in [0, 1], that the verdict is about. */
  readonly share: number;
  readonly text: string;
}

/** Above, a run is said to wait for its data. */
const DATA_SHARE = 0.25;
/** Of a batch, between operators; and of an operator, below which starting it is most of it. */
const HOST_SHARE = 0.35;
const SHORT_OPERATOR = 15e-6;
/** Of a batch: a GPU that is waited for less has waited for the host. */
const WAIT_SHARE = 0.1;

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;

/** The verdict, with the number behind it and what to do. */
export function bottleneckOf(figures: BottleneckFigures): Bottleneck | null {
  atMost("bottleneckOf", arguments, 1);
  checkArguments("bottleneckOf", { figures }, { figures: kinds.record });
  const { batches, dataSeconds, batchSeconds, probe } = figures;
  if (batches === 0 || batchSeconds <= 0) return null;
  const data = dataSeconds / (dataSeconds + batchSeconds);
  const each = (seconds: number): string => formatSeconds(seconds / batches);
  if (data >= DATA_SHARE)
    return {
      kind: "data",
      share: data,
      text: `data: ${percent(data)} of training waited for batches (${each(dataSeconds)} a batch, beside ${each(batchSeconds)} of computing). Give the DataLoader numWorkers, or make its transforms cheaper.`,
    };
  const waited = `${percent(data)} of training waited for batches`;
  if (probe === null || probe.batches === 0)
    return { kind: "unknown", share: data, text: `not the data: ${waited}; too few batches to say more.` };
  if (probe.kind === "replayed")
    return {
      kind: "compute",
      share: 1 - data,
      text: `computing: steps are replayed as recorded, without the host (${each(batchSeconds)} a batch; ${waited}). A faster device, fewer bits (precision) or a smaller model help.`,
    };
  return probe.kind === "device" ? ofDevice(probe, waited) : ofOperators(probe, waited);
}

function ofDevice(probe: ProbeFigures & { readonly kind: "device" }, waited: string): Bottleneck {
  const wait = probe.waitSeconds / probe.seconds;
  const measured = `the host waited for the GPU in ${percent(wait)} of a batch of ${formatSeconds(probe.seconds / probe.batches)}`;
  return wait < WAIT_SHARE
    ? {
        kind: "launch",
        share: 1 - wait,
        text: `launching: ${measured}, so the GPU waits for the host (${waited}). Larger batches, or cudaGraph: true.`,
      }
    : {
        kind: "compute",
        share: wait,
        text: `computing: ${measured} (${waited}). Fewer bits (precision: "bf16"), a smaller model, or more GPUs.`,
      };
}

function ofOperators(probe: ProbeFigures & { readonly kind: "operators" }, waited: string): Bottleneck {
  const outside = Math.max(0, 1 - probe.operatorSeconds / probe.seconds);
  const mean = probe.operators === 0 ? 0 : probe.operatorSeconds / probe.operators;
  const count = Math.round(probe.operators / probe.batches);
  const measured = `${count} operators a batch, ${formatSeconds(mean)} each, and ${percent(outside)} of the time between them`;
  return outside >= HOST_SHARE || mean < SHORT_OPERATOR
    ? {
        kind: "launch",
        share: outside,
        text: `launching: ${measured} (${waited}). Larger batches, fewer and larger operators, or replay: true.`,
      }
    : {
        kind: "compute",
        share: 1 - outside,
        text: `computing: ${measured} (${waited}). Fewer bits (precision: "bf16"), more threads (setNumThreads), or a smaller model.`,
      };
}

/** Batches that are looked at: after those that warm up. */
const FIRST = 3;
const LAST = 5;

/** Sums up what a run does, and looks at a few of its batches more closely. */
export class BottleneckWatch {
  #batches = 0;
  #data = 0;
  #computing = 0;
  readonly #probe = { batches: 0, replayed: 0, seconds: 0, operators: 0, operatorSeconds: 0, waitSeconds: 0 };
  #open: { readonly began: number; readonly profile: profiler.Profile | null; readonly replayed: number } | null = null;
  #began = 0;

  /**
   * @param onGpu - Where training computes.
   * @param mayProbe - False: another profiler records operators.
   * @param replayed - Batches that were replayed so far.
   */
  constructor(
    readonly onGpu: boolean,
    readonly mayProbe: boolean,
    readonly replayed: () => number,
  ) {}

  waited(seconds: number): void {
    this.#data += seconds;
  }
  /** A batch begins. */
  batchStarts(): void {
    this.#batches++;
    if (this.mayProbe && this.#batches >= FIRST && this.#batches <= LAST) {
      if (this.onGpu) cuda.synchronize();
      this.#open = { profile: this.onGpu ? null : startQuietly(), replayed: this.replayed(), began: performance.now() };
    }
    this.#began = performance.now();
  }
  batchEnds(): void {
    const now = performance.now();
    this.#computing += (now - this.#began) / 1e3;
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    const probe = this.#probe;
    probe.batches++;
    if (this.onGpu) {
      cuda.synchronize();
      const end = performance.now();
      probe.seconds += (end - open.began) / 1e3;
      probe.waitSeconds += (end - now) / 1e3;
      return;
    }
    probe.seconds += (now - open.began) / 1e3;
    open.profile?.stop();
    if (this.replayed() > open.replayed || open.profile === null) probe.replayed++;
    else
      for (const event of open.profile.events()) {
        if (event.isUserAnnotation || !isTopOperator(event)) continue;
        probe.operators++;
        probe.operatorSeconds += event.elapsed / 1e6;
      }
  }

  get figures(): BottleneckFigures {
    const { batches, replayed, seconds, operators, operatorSeconds, waitSeconds } = this.#probe;
    return {
      batches: this.#batches,
      dataSeconds: this.#data,
      batchSeconds: this.#computing,
      probe:
        batches === 0
          ? null
          : this.onGpu
            ? { kind: "device", batches, seconds, waitSeconds }
            : replayed > 0
              ? { kind: "replayed", batches }
              : { kind: "operators", batches, seconds, operators, operatorSeconds },
    };
  }
}

/** Called by JavaScript, or a node of a backward; whatever ranges are around it. */
function isTopOperator(event: profiler.FunctionEvent): boolean {
  let parent = event.cpuParent;
  while (parent?.isUserAnnotation === true) parent = parent.cpuParent;
  return parent === null;
}
/** Null where the program profiles by itself. */
function startQuietly(): profiler.Profile | null {
  try {
    return profiler.profile({ activities: ["cpu"] }).start();
  } catch {
    return null;
  }
}
