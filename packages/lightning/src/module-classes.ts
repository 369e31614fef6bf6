import type { nn } from "@nbit/torch";
import { kinds } from "@nbit/torch/options";

/** A class of modules, whatever its constructor takes. */
export interface ModuleClass {
  readonly name: string;
  readonly prototype: nn.Module;
  [Symbol.hasInstance](value: unknown): boolean;
}

/** By what such a class has: a command line checks its flags without libtorch. */
const moduleClass = kinds.such<ModuleClass>("a class of modules", (v) => {
  if (typeof v !== "function") return false;
  const prototype: unknown = Reflect.get(v, "prototype");
  return typeof prototype === "object" && prototype !== null && "namedModules" in prototype && "forward" in prototype;
});

/** @internal A list of classes of modules. */
export const moduleClasses = kinds.listOf(moduleClass);
