/** A complex number, where an operator takes or returns one. */
import { atMost } from "../options.js";
export class Complex {
  readonly re: number;
  readonly im: number;
  constructor(re: number, im: number) {
    atMost("Complex", arguments, 2);
    this.re = re;
    this.im = im;
  }
  toString(): string {
    return `(${this.re}${this.im < 0 || Object.is(this.im, -0) ? "-" : "+"}${Math.abs(this.im)}j)`;
  }
}

/**
 * What an operator takes where PyTorch takes a number. Whole JavaScript numbers are integers there, others are floats.
 */
export type Scalar = number | bigint | boolean | Complex;
