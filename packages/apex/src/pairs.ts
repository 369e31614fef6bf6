/** A parameter of a model, what the optimizer steps in its place, and the gradient that both have. */
import { keep, noGrad, optim, outsideScopes, scope, type Tensor } from "@nbit/torch";

/**
 * Where the gradient of a parameter stands, rounded, for code that looks at the model: what it was when it was put
 * there tells whether somebody changed it since.
 */
interface Shown {
  readonly tensor: Tensor;
  readonly version: number;
  readonly master: number;
  readonly masterVersion: number;
}

/** The loss that a gradient is scaled for. */
export interface Scaled {
  readonly lossId: number;
  readonly scale: number;
}

/**
 * The gradient is the master's, in float32 and true. The model's parameter shows it in 16 bits, and what a module's
 * code does there (clearing, setting, clipping) happens to the master's at the next look. A parameter without a master
 * is its own.
 */
export class Pair {
  #shown: Shown | null = null;
  /** The unscaled gradient of earlier backwards while a scaled one is made. */
  #stashed: Tensor | null = null;
  /** Its gradient is multiplied by this loss's scale now. */
  scaled: Scaled | null = null;
  /** A backward overflowed, and its gradient was not cleared since. */
  overflowed = false;
  /** A step was made (or skipped) with this gradient. */
  spent = false;

  constructor(
    readonly parameter: Tensor,
    readonly master: Tensor,
  ) {}

  get #single(): boolean {
    return this.parameter === this.master;
  }

  /** What happened to the shown gradient, or to the master's, happens to the other. */
  sync(): void {
    if (this.scaled !== null) return;
    scope(() => {
      const { parameter, master } = this;
      const visible = parameter.grad;
      if (this.#single) {
        if (visible === null) this.#forgetFlags();
        return;
      }
      const shown = this.#shown;
      if (visible === null && shown !== null) return this.clear();
      if (
        visible !== null &&
        (shown === null || visible.dataPtr() !== shown.tensor.dataPtr() || visible.version !== shown.version)
      ) {
        // Set or changed by hand.
        master.grad = wide(visible);
        this.#show(visible);
        return;
      }
      const own = master.grad;
      if (own === null) return visible === null ? this.#forgetFlags() : this.clear();
      if (shown === null || own.dataPtr() !== shown.master || own.version !== shown.masterVersion) this.#refresh();
    });
  }

  #forgetFlags(): void {
    this.overflowed = false;
    this.spent = false;
  }

  /** Forget the gradient. */
  clear(): void {
    this.parameter.grad = null;
    this.master.grad = null;
    this.#stashed?.dispose();
    this.#stashed = null;
    this.#hide();
    this.scaled = null;
    this.#forgetFlags();
  }
  #hide(): void {
    this.#shown?.tensor.dispose();
    this.#shown = null;
  }

  /**
   * The parameter's gradient is what of the master's fits 16 bits, in the memory of `into` where that has its layout.
   */
  #refresh(into: Tensor | null = this.#shown?.tensor ?? null): void {
    const { parameter, master } = this;
    const own = master.grad;
    if (own === null) return;
    noGrad(() => {
      if (into?.layout === "strided" && own.layout === "strided") {
        into.copy_(own);
        this.#show(into);
      } else this.#show(own.to(parameter.dtype));
    });
  }
  #show(tensor: Tensor): void {
    const { parameter, master } = this;
    const own = master.grad;
    if (own === null) return;
    const kept = outsideScopes(() => tensor.detach());
    this.#hide();
    parameter.grad = kept;
    this.#shown = { tensor: kept, version: kept.version, master: own.dataPtr(), masterVersion: own.version };
  }

  /** A backward scaled for `scaled` comes: the unscaled gradient is out of its way. */
  begin(scaled: Scaled): void {
    this.sync();
    this.scaled = scaled;
    if (this.#single) {
      const before = this.parameter.grad;
      if (before !== null) this.#stashed = keep(before);
    }
    this.parameter.grad = null;
  }

  /** That backward failed: its gradient is dropped, the true one stays. */
  abort(): void {
    if (this.scaled === null) return;
    this.scaled = null;
    if (this.#single) {
      this.parameter.grad = this.#stashed;
      this.#unstash();
    } else this.parameter.grad = this.#shown?.tensor ?? null;
  }
  #unstash(): void {
    this.#stashed?.dispose();
    this.#stashed = null;
  }

  /**
   * The scaled gradient, divided by its scale, is added to the true one.
   * @param check - Whether to look for values that are not finite: waits for the device.
   * @returns Whether it found one.
   */
  collect(check: boolean): boolean {
    const { scaled, parameter, master } = this;
    if (scaled === null) return false;
    this.scaled = null;
    return noGrad(() =>
      scope(() => {
        const fresh = parameter.grad;
        if (fresh === null) {
          parameter.grad = this.#single ? this.#stashed : (this.#shown?.tensor ?? null);
          this.#unstash();
          return false;
        }
        const divided = this.#single ? fresh : wide(fresh);
        if (scaled.scale !== 1) optim.gradientValues(divided).mul_(1 / scaled.scale);
        const before = this.#single ? this.#stashed : master.grad;
        const total = before === null ? divided : sum(before, divided);
        const overflow = check && !isFinite(total);
        if (this.#single) {
          parameter.grad = total;
          this.#unstash();
        } else {
          master.grad = total;
          this.#refresh(this.#shown?.tensor ?? fresh);
        }
        if (this.spent) this.#forgetFlags();
        this.overflowed ||= overflow;
        return overflow;
      }),
    );
  }
}

/** A 16-bit gradient in float32; the duplicates of a sparse one are added up there, where the sum has room. */
function wide(gradient: Tensor): Tensor {
  const copy = gradient.to({ dtype: "float32", copy: true });
  return copy.isSparse ? copy.coalesce() : copy;
}

/** In place where both have one layout, and kernels for it: there are none that add sparse 16-bit ones. */
function sum(before: Tensor, more: Tensor): Tensor {
  if (before.isSparse && more.isSparse && before.dtype !== "float32")
    return wide(before).add(wide(more)).to(before.dtype);
  if (before.layout === more.layout) return before.add_(more);
  return before.isSparse ? more.add(before) : before.add(more);
}

/** One number tells: a sum with infinity or NaN in it is one. */
function isFinite(gradient: Tensor): boolean {
  return Number.isFinite(optim.gradientValues(gradient).sum({ dtype: "float64" }).item());
}
