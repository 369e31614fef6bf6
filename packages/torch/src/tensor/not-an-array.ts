/**
 * What people write of tensors as if they were arrays: `t[0]`, `t[0] = 1`, `t.length`. JavaScript would answer
 * undefined, or make a field that nothing reads; here it is an error that says what to write.
 */
import { ArgumentError, verbatim } from "../errors.js";

const INDEX = /^-?\d+$/;

function refuseIndex(key: string): never {
  throw new ArgumentError(
    "Tensor",
    `t.at(${key})`,
    verbatim(`t[${key}], which JavaScript keeps for arrays`),
    "t.unbind() and for…of give the rows.",
    "ERR_TENSOR_INDEX",
  );
}
function refuseLength(): never {
  throw new ArgumentError(
    "Tensor",
    "t.size(0), or t.numel() for all elements",
    verbatim("t.length"),
    "",
    "ERR_TENSOR_INDEX",
  );
}
/**
 * @internal Behind everything that tensors have: only names that neither a tensor nor its class knows come here, so that
 * nothing else costs more.
 */
export function refuseArrayNames(prototype: object): void {
  const behind = Object.getPrototypeOf(prototype) as object;
  Object.setPrototypeOf(
    prototype,
    new Proxy(Object.create(behind) as object, {
      get(target, key, receiver): unknown {
        if (typeof key === "string") {
          if (INDEX.test(key)) refuseIndex(key);
          if (key === "length") refuseLength();
        }
        return Reflect.get(target, key, receiver);
      },
      set(target, key, value, receiver): boolean {
        if (typeof key === "string" && INDEX.test(key))
          throw new ArgumentError(
            "Tensor",
            `t.setAt([${key}], value)`,
            verbatim(`t[${key}] = …, which JavaScript keeps for arrays`),
            "",
            "ERR_TENSOR_INDEX",
          );
        return Reflect.set(target, key, value, receiver);
      },
    }),
  );
}
