import type { Metric } from "@nbit/metrics";
import { ArgumentError, full, getDefaultDtype, isFloatingPoint, keep, Tensor } from "@nbit/torch";
import type { DType } from "@nbit/torch";
import { PendingNumber } from "./pending-number.js";

/** Steps that a device may have before it: older ones are done. */
const IN_FLIGHT = 1;

export type Reduction = "mean" | "sum" | "min" | "max";

/** A value that `log` accepts: a tensor of one element, a number, a boolean, or a metric that is a field of the module. */
export type LogValue = Tensor | number | boolean | Metric;

/** Everything about a metric that must not change between two `log` calls of one name in one hook. */
export interface MetricMeta {
  readonly hook: string;
  readonly name: string;
  readonly progBar: boolean;
  readonly logger: boolean;
  readonly onStep: boolean;
  readonly onEpoch: boolean;
  readonly reduceFx: Reduction;
  /** Over all processes: values of steps too (true), or nothing (false). Left out: values of epochs. */
  readonly syncDist?: boolean;
  /** Only process 0 has it. */
  readonly rankZeroOnly?: boolean;
  /** Index of the dataloader, when there are several. */
  readonly dataloaderIdx: number | null;
}

/**
 * One logged name: its newest value and its running reduction.
 *
 * JavaScript numbers, integers and float64 tensors are kept in float64, other tensors in float32; sums are float64 when
 * one of their values is, or when that is the default dtype (64-true), else float32. Each product and each sum is
 * rounded as tensors of those dtypes would: epoch means equal those of a running sum of tensors to the last bit. On CPU
 * the value is read at once, which costs less than one tensor operation. On other devices value and sum stay there
 * until someone asks. Numbers of compiled steps are read when the device has
 * them, or when somebody asks.
 */
export class LoggedMetric {
  readonly meta: MetricMeta;
  /** False until a value was logged, here or in another process, since the last reset. */
  hasValue = false;
  /** The same, here. */
  isOwn = false;

  #last: number | Tensor = 0;
  #sum: number | Tensor = 0;
  #count = 0;
  #wide = false;
  /** Weight of the newest value. */
  #lastWeight = 1;
  /** Not read yet, the oldest first. */
  readonly #pending: { readonly number: PendingNumber; readonly batchSize: number }[] = [];
  /** Over all processes, until another value is logged. */
  #stepOfAll: number | null = null;
  #epochOfAll: number | null = null;

  constructor(meta: MetricMeta) {
    this.meta = meta;
  }

  update(value: Exclude<LogValue, Metric> | PendingNumber, batchSize: number): void {
    if (value instanceof PendingNumber) {
      this.#pending.push({ number: value, batchSize });
      this.#stepOfAll = this.#epochOfAll = null;
      this.hasValue = true;
      if (this.#pending.length > IN_FLIGHT) this.#readOldest();
      return;
    }
    this.#readPending();
    this.#stepOfAll = null;
    this.#epochOfAll = null;
    this.#lastWeight = batchSize;
    if (value instanceof Tensor) {
      if (value.numel() !== 1) {
        throw new ArgumentError(
          "log",
          `value of ${JSON.stringify(this.meta.name)} to have one element`,
          value,
          "Reduce it first, for example with mean().",
          "ERR_LOG_VALUE",
        );
      }
      if (value.device.type === "cpu") this.#updateNumber(value.item(), batchSize, isWide(value.dtype));
      else this.#updateTensor(value, batchSize);
    } else {
      if (typeof value !== "number" && typeof value !== "boolean")
        throw new ArgumentError(
          "log",
          `value of ${JSON.stringify(this.meta.name)} to be a number, a boolean or a tensor of one element`,
          value,
          undefined,
          "ERR_LOG_VALUE",
        );
      this.#updateNumber(Number(value), batchSize, true);
    }
    this.hasValue = true;
    this.isOwn = true;
  }

  #readOldest(): void {
    const oldest = this.#pending.shift();
    if (oldest === undefined) return;
    const { number, batchSize } = oldest;
    this.#lastWeight = batchSize;
    this.#updateNumber(number.value(), batchSize, isWide(number.dtype));
    this.isOwn = true;
  }
  /** Waits for the device. */
  #readPending(): void {
    while (this.#pending.length > 0) this.#readOldest();
  }

  #updateNumber(raw: number, batchSize: number, wideValue: boolean): void {
    if (wideValue || wideDefault()) this.#wide = true;
    const roundValue = wideValue ? identity : Math.fround;
    const round = this.#wide ? identity : Math.fround;
    const value = roundValue(raw);
    this.#last = value;
    if (!this.meta.onEpoch) return;
    const first = !this.isOwn;
    const sum = first ? 0 : this.#sumSoFar();
    switch (this.meta.reduceFx) {
      case "mean":
        this.#sum = round(sum + roundValue(value * batchSize));
        this.#count = (first ? 0 : this.#count) + batchSize;
        break;
      case "sum":
        this.#sum = round(sum + value);
        break;
      case "min":
        this.#sum = first ? value : Math.min(sum, value);
        break;
      case "max":
        this.#sum = first ? value : Math.max(sum, value);
        break;
    }
  }

  #updateTensor(raw: Tensor, batchSize: number): void {
    const wide = isWide(raw.dtype);
    if (wide || wideDefault()) this.#wide = true;
    const value = raw
      .detach()
      .reshape([])
      .to({ dtype: wide ? "float64" : "float32", copy: true });
    const last = this.#last;
    this.#last = keep(value);
    if (this.meta.onEpoch) {
      const sum = this.#sum;
      this.#sum = keep(this.#reduceTensor(value, this.isOwn ? sum : null, batchSize));
      if (sum instanceof Tensor) sum.dispose();
    }
    if (last instanceof Tensor) last.dispose();
  }

  #reduceTensor(value: Tensor, sum: number | Tensor | null, batchSize: number): Tensor {
    const { reduceFx } = this.meta;
    const dtype = this.#wide ? "float64" : "float32";
    const weighted = reduceFx === "mean" ? value.mul(batchSize).to(dtype) : value.to({ dtype, copy: true });
    if (reduceFx === "mean") this.#count = (sum === null ? 0 : this.#count) + batchSize;
    if (sum === null) return weighted;
    const before = sum instanceof Tensor ? sum.to(dtype) : full([], sum, { dtype, device: value.device });
    if (reduceFx === "min") return before.minimum(weighted);
    return reduceFx === "max" ? before.maximum(weighted) : before.add(weighted);
  }

  /** The newest value. Waits for the device once. */
  step(): number {
    if (this.#stepOfAll !== null) return this.#stepOfAll;
    this.#readPending();
    if (this.#last instanceof Tensor) {
      const value = this.#last.item();
      this.#last.dispose();
      this.#last = value;
    }
    return this.#last;
  }

  /** Reads the newest value as it is now, at any later time: while a device is computing it, nothing waits here. */
  stepLater(): () => number {
    const newest = this.#stepOfAll === null ? this.#pending.at(-1)?.number : undefined;
    if (newest === undefined) {
      const value = this.step();
      return () => value;
    }
    return () => (isWide(newest.dtype) ? newest.value() : Math.fround(newest.value()));
  }

  /** The reduction over all values since the last reset. Waits for the device once. */
  epoch(): number {
    if (this.#epochOfAll !== null) return this.#epochOfAll;
    const sum = this.#readSum();
    if (this.meta.reduceFx !== "mean") return sum;
    return this.#wide ? sum / this.#count : Math.fround(sum / Math.fround(this.#count));
  }

  /** Whether this process has a value that others have not seen. */
  isUnshared(onStep: boolean): boolean {
    this.#readPending();
    return this.isOwn && (onStep ? this.#stepOfAll : this.#epochOfAll) === null;
  }

  /** What this process adds to the value of all. Waits for the device once. */
  share(onStep: boolean): MetricShare {
    const wide = this.#wide;
    return onStep
      ? { value: this.step() * (this.meta.reduceFx === "mean" ? this.#lastWeight : 1), weight: this.#lastWeight, wide }
      : { value: this.#readSum(), weight: this.#count, wide };
  }

  /** The value over all processes. */
  ofAll(onStep: boolean, value: number): void {
    if (onStep) this.#stepOfAll = value;
    else this.#epochOfAll = value;
    this.hasValue = true;
  }

  #readSum(): number {
    this.#readPending();
    return this.#sumSoFar();
  }
  #sumSoFar(): number {
    if (this.#sum instanceof Tensor) {
      const value = this.#sum.item();
      this.#sum.dispose();
      this.#sum = value;
    }
    return this.#sum;
  }

  reset(): void {
    this.#pending.length = 0;
    if (this.#last instanceof Tensor) this.#last.dispose();
    if (this.#sum instanceof Tensor) this.#sum.dispose();
    this.#last = 0;
    this.#sum = 0;
    this.#count = 0;
    this.#wide = false;
    this.#stepOfAll = null;
    this.#epochOfAll = null;
    this.hasValue = false;
    this.isOwn = false;
  }

  stateDict(): MetricState {
    return { meta: { ...this.meta }, last: this.step(), sum: this.#readSum(), count: this.#count, wide: this.#wide };
  }

  loadStateDict(state: MetricState): void {
    this.#last = state.last;
    this.#sum = state.sum;
    this.#count = state.count;
    this.#wide = state.wide;
    this.hasValue = true;
    this.isOwn = true;
  }
}

/** One process's share of a metric: a sum over its batches and their weight, or the value of a step and its weight. */
export interface MetricShare {
  readonly value: number;
  readonly weight: number;
  readonly wide: boolean;
}

export interface MetricState {
  readonly meta: MetricMeta;
  readonly last: number;
  readonly sum: number;
  readonly count: number;
  readonly wide: boolean;
}

/** Whether float32 would not do: it holds integers up to 2²⁴ only. */
function isWide(dtype: DType): boolean {
  return dtype === "float64" || !(isFloatingPoint(dtype) || dtype === "bool") || (wideDefault() && dtype !== "float32");
}

function wideDefault(): boolean {
  return getDefaultDtype() === "float64";
}

function identity(value: number): number {
  return value;
}
