/** Private operators that optimizers are made of. */
import { aten } from "../ops/aten.js";
import { NbitError } from "../errors.js";
import type { AtenOperator, AtenResult } from "../ops/aten.js";

/** @internal The operator of a name, looked up at its first call: a libtorch without it only matters to who uses it. */
export function operator(name: string): (...args: readonly unknown[]) => AtenResult {
  let found: AtenOperator | undefined;
  return (...args) => {
    found ??= aten[name];
    if (found === undefined) throw new NbitError(`${name}: expected a libtorch that has this operator. Received: one that has not. \`npx nbit doctor\` shows its version.`, "ERR_NO_OPERATOR");
    return found(...args);
  };
}
