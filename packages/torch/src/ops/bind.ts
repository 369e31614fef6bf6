/** Where the generated declarations meet the dispatcher. */
import { METHODS } from "../generated/methods.js";
import { attachConversions } from "../tensor/conversions.js";
import { attachMembers } from "../tensor/members.js";
import { Tensor } from "../tensor/tensor.js";
import { fn, method } from "./invoke.js";
import { camelCase } from "./schema.js";

/**
 * The function of an operator. Its type comes from the same schema as its behaviour (the drift check holds both
 * together), which the compiler cannot see: the one assertion in the operator layer.
 */
export function bind<T>(name: string): T {
  return fn(name) as T;
}

for (const name of METHODS)
  Object.defineProperty(Tensor.prototype, camelCase(name), { value: method(name), writable: true, configurable: true });
attachConversions();
attachMembers();
