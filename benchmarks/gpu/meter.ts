/** Times of stretches of training steps, and losses by which two sides are compared. */
import { cuda, type Tensor } from "@nbit/torch";
import { Callback } from "@nbit/lightning";

export interface MeterOptions {
  /** Batches before the first stretch, and of each. */
  readonly warmUp: number;
  readonly chunk: number;
  /** Of all. */
  readonly total: number;
  /** Batches to an optimizer step. Default 1. */
  readonly accumulate?: number;
  /** A device is waited for at the ends of stretches, and its peak is of what follows the first. */
  readonly gpu: boolean;
}

export class Meter extends Callback {
  /** Of the first batches of three windows, and of the last. */
  readonly losses: number[] = [];
  /** Milliseconds a step, of each stretch. */
  readonly times: number[] = [];
  /** When the first step had ended, and when the stretches began and ended: milliseconds since 1970. */
  first = NaN;
  readonly span: number[] = [];
  #n = 0;
  #start = 0;

  constructor(readonly options: MeterOptions) {
    super();
  }

  override onTrainBatchEnd(_: unknown, __: unknown, outputs: { readonly loss?: Tensor } | null): void {
    const { warmUp, chunk, total, accumulate = 1, gpu } = this.options;
    this.#n++;
    const loss = outputs?.loss;
    const keep = (): void => void (loss && this.losses.push(loss.item() * accumulate));
    if (this.#n <= 3 * accumulate && this.#n % accumulate === 1 % accumulate) keep(); // the first of each window
    if (this.#n === 1) this.first = Date.now(); // the loss was waited for
    const k = this.#n - warmUp;
    if (k < 0 || k % chunk !== 0) return;
    if (gpu) cuda.synchronize();
    const now = performance.now();
    if (k === 0 || this.#n === total) this.span.push(Date.now());
    if (k > 0) this.times.push((now - this.#start) / chunk);
    else if (gpu) cuda.resetPeakMemoryStats();
    this.#start = now;
    if (this.#n === total) keep();
  }

  /** Of the stretches: the median, and the least. */
  get milliseconds(): { readonly ms: number; readonly min: number } {
    const times = [...this.times].sort((a, b) => a - b);
    return { ms: times[times.length >> 1] ?? NaN, min: times[0] ?? NaN };
  }
}
