import { inferenceMode, scope, Tensor, utils, type nn } from "@nbit/torch";
import { mapTensors } from "../collections.js";
import { captureModes } from "../loops/module-modes.js";

/** What a forward was, by the paths of modules; "" is the whole. */
export interface ForwardFacts {
  readonly flops: ReadonlyMap<string, number>;
  /** Shapes of what a module took and gave when it was first called: "[2, 3]", or several in brackets. */
  readonly sizes: ReadonlyMap<string, ModuleSizes>;
}
export interface ModuleSizes {
  readonly in: string;
  readonly out: string;
}

/**
 * A forward in evaluation mode. Tensors are taken to the device of the
 * parameters and, where both are floating, to their dtype.
 *
 * @param example - A tensor, or an array of arguments.
 */
export function lookAtForward(module: nn.Module, example: unknown): ForwardFacts {
  const like = module.parameters()[0];
  const root = module.constructor.name;
  const counter = new utils.flopCounter.FlopCounterMode({ mods: module, display: false });
  const restore = captureModes(module);
  const sizes = new Map<string, ModuleSizes>();
  const hooks = watchSizes(module, sizes);
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
    for (const hook of hooks) hook.remove();
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
  return { flops: counts, sizes };
}

function watchSizes(root: nn.Module, sizes: Map<string, ModuleSizes>): { remove(): void }[] {
  return Array.from(root.namedModules(), ([name, module]) =>
    module.registerForwardHook((_module: nn.Module, args: readonly unknown[], output: unknown) => {
      if (!sizes.has(name)) sizes.set(name, { in: sizeOf(args.length === 1 ? args[0] : args), out: sizeOf(output) });
    }),
  );
}

/** Shapes of tensors, in the structure of arrays that they are in; "?" for what is neither. */
function sizeOf(value: unknown): string {
  if (value instanceof Tensor) return `[${value.shape.join(", ")}]`;
  return Array.isArray(value) ? `[${value.map(sizeOf).join(", ")}]` : "?";
}
