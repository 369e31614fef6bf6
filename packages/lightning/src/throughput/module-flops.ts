import { inferenceMode, scope, utils, type nn } from "@nbit/torch";
import { mapTensors } from "../collections.js";
import { captureModes } from "../loops/module-modes.js";

/**
 * FLOPs of a forward in evaluation mode, by the paths of modules; "" is the whole. Tensors are taken to the device of the
 * parameters and, where both are floating, to their dtype.
 *
 * @param example - A tensor, or an array of arguments.
 */
export function flopsByModule(module: nn.Module, example: unknown): ReadonlyMap<string, number> {
  const like = module.parameters()[0];
  const root = module.constructor.name;
  const counter = new utils.flopCounter.FlopCounterMode({ mods: module, display: false });
  const restore = captureModes(module);
  try {
    module.eval();
    scope(() => {
      const given: readonly unknown[] = Array.isArray(example) ? example : [example];
      const args = given.map((arg) =>
        mapTensors(arg, (tensor) => {
          if (like === undefined) return tensor;
          const moved = tensor.to(like.device);
          return moved.isFloatingPoint() && like.isFloatingPoint() ? moved.to(like.dtype) : moved;
        }),
      );
      counter.run(() =>
        inferenceMode(() => void Reflect.apply(module.forward as (...args: unknown[]) => unknown, module, args)),
      );
    });
  } finally {
    restore();
  }
  const counts = new Map<string, number>();
  for (const [name, own] of Object.entries(counter.getFlopCounts())) {
    const path = name === "Global" ? "" : name === root ? null : name.slice(root.length + 1);
    if (path !== null)
      counts.set(
        path,
        Object.values(own).reduce((sum, n) => sum + n, 0),
      );
  }
  return counts;
}
