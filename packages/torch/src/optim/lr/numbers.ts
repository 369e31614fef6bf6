/** Numbers of the C library, which Python's are: JavaScript's may differ in the last bit. */
import { native } from "../../native.js";
import { full, polar, viewAsReal } from "../../ops/index.js";
import { outsideScopes, scope } from "../../tensor/scope.js";
import { noGrad } from "../../autograd/modes.js";

/** @internal base ^ exponent. */
export const power = (base: number, exponent: number): number => native.pow(base, exponent);

/** @internal The cosine of an angle: libtorch makes complex numbers of it by the C library's. */
export function cosine(angle: number): number {
  return outsideScopes(() =>
    noGrad(() =>
      scope(() => {
        const of = (value: number) => full([], value, { dtype: "float64", device: "cpu" });
        return viewAsReal(polar(of(1), of(angle)))
          .select(0, 0)
          .item();
      }),
    ),
  );
}

/** @internal How many of a rising list are at most a value. */
export function bisectRight(list: readonly number[], value: number): number {
  let n = 0;
  while (n < list.length && (list[n] as number) <= value) n++;
  return n;
}
