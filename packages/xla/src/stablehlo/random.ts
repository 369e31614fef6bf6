/**
 * Random numbers of a counter-based generator, whose state goes through the program: the same state gives the same
 * numbers, on any number of devices.
 */
import { need, typeOf, type Emitter } from "./emitter.js";
import { sort } from "./loop.js";
import { sizeOf, type Element, type Ssa } from "./types.js";

/** Of the generator's state: a key and a counter. */
export const STATE_SHAPE: readonly number[] = [2];
export const STATE_ELEMENT: Element = "ui64";

export class Generator {
  #drawn = false;
  constructor(private state: Ssa | null) {}
  get current(): Ssa | null {
    return this.state;
  }
  /** Whether any operator drew from it. */
  get drawn(): boolean {
    return this.#drawn;
  }

  /** 32 random bits for each element. */
  bits(e: Emitter, shape: readonly number[]): Ssa {
    need(this.state !== null, "the program has no state of a generator");
    this.#drawn = true;
    if (sizeOf(shape) === 0) return e.full(0, "ui32", shape);
    const types: [Element, readonly number[]][] = [
      [STATE_ELEMENT, STATE_SHAPE],
      ["ui32", shape],
    ];
    const results = types.map(([element, s]) => typeOf({ name: "", element, shape: s })).join(", ");
    const [next, bits] = e.ops(
      types,
      `"stablehlo.rng_bit_generator"(${this.state.name}) <{rng_algorithm = #stablehlo<rng_algorithm THREE_FRY>}> : (${typeOf(this.state)}) -> (${results})`,
    );
    this.state = next;
    return bits;
  }

  /** float32 in [0, 1), in steps of 2⁻²⁴. */
  uniform(e: Emitter, shape: readonly number[]): Ssa {
    const whole = e.binary("shift_right_logical", this.bits(e, shape), 8);
    return e.mul(e.convert(whole, "f32"), 2 ** -24);
  }
  /** Standard normal, float32. */
  normal(e: Emitter, shape: readonly number[]): Ssa {
    // Halfway between the steps: never ±1, where the inverse is infinite.
    const centred = e.add(e.mul(this.uniform(e, shape), 2), 2 ** -24 - 1);
    return e.mul(e.special("erf_inv", centred), Math.SQRT2);
  }
  /** Whole numbers in [0, n), int64. */
  below(e: Emitter, n: number, shape: readonly number[]): Ssa {
    need(n > 0 && n <= 2 ** 32, `whole numbers below ${n}: 1 to 2³² are`);
    const wide = e.convert(this.bits(e, shape), "ui64");
    return e.convert(e.binary("shift_right_logical", e.mul(wide, n), 32), "i64");
  }
  /** 0 to n - 1 in an order of which each is as likely, but for equal draws of 32 bits: int64. */
  order(e: Emitter, n: number): Ssa {
    return sort(e, this.bits(e, [n]), 0, false)[1];
  }
  /** true with probability `p`. */
  chance(e: Emitter, p: number, shape: readonly number[]): Ssa {
    if (p >= 1) return e.full(1, "i1", shape);
    return e.compare("LT", this.bits(e, shape), Math.min(2 ** 32 - 1, Math.round(p * 2 ** 32)));
  }
}
