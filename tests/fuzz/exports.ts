/**
 * What is not an operator of libtorch: every function, class, static and method of every package, called with what its
 * table says comes first, or with anything.
 */
import * as torch from "@nbit/torch";
import { nn, ones, optim } from "@nbit/torch";
import { walk, type Callable, type Export } from "../options/every-export.js";
import { isInternal } from "../options/exemptions.js";
import { ROWS } from "../options/rows.js";
import type { ArgumentSchema, Target } from "./surface.js";

/**
 * They end the process, wait for a person or run for as long as one likes: that is what they are for. Or they turn off
 * what the fuzz itself needs.
 */
const LEFT_OUT =
  /^cli\.(main|LightningCLI#(run|instantiate))$|^lightning\.Trainer#(fit|validate|test|predict)$|^lightning\.PrecisionSearch|^torch\.(cuda\.|setSwitch|setPrintOptions|withoutWarnings|provide|add(Describer|MemoryExplainer)|traceMark|seedEverything)|^lightning\.(register|LightningModule#print$)|^lowbit\.keep32bit/;

const ANY: ArgumentSchema = { name: "value", kind: "?", optional: true };
const TENSOR: ArgumentSchema = { name: "value", kind: "t" };

/** Arguments with which some class can be made, tried in turn. */
const MAKINGS: readonly (() => readonly unknown[])[] = [
  () => [],
  () => [16, 16],
  () => [2],
  () => [[1, 2, 3]],
  () => [ones([4, 4])],
  () => [new nn.Linear(16, 16)],
  () => [[new nn.Parameter(ones([4]))], { lr: 0.1 }],
  () => [new optim.SGD([new nn.Parameter(ones([1]))], { lr: 0.1 }), 2],
  () => [{ length: 3 }],
  () => [16, 16, 3],
];
const made = new Map<Callable, object | null>();
function instanceOf(path: string, type: Callable): object | null {
  const known = made.get(type);
  if (known !== undefined) return known;
  const row = Object.hasOwn(ROWS, path) ? ROWS[path]?.().args : undefined;
  for (const make of row === undefined ? MAKINGS : [() => row, ...MAKINGS]) {
    try {
      const instance: unknown = Reflect.construct(type, [...make()]);
      if (typeof instance !== "object" || instance === null) continue;
      made.set(type, instance);
      return instance;
    } catch {
      // another way
    }
  }
  made.set(type, null);
  return null;
}

/** What a method is called on; null where no instance can be made. */
function receiverOf({ path, owner }: Export): object | null {
  return (
    (Object.hasOwn(ROWS, path) ? ROWS[path]?.().self : undefined) ??
    instanceOf(path.split("#")[0] ?? "", owner as Callable)
  );
}

function call(one: Export, args: readonly unknown[]): unknown {
  if (one.kind === "class") return Reflect.construct(one.value, args);
  return Reflect.apply(one.value, one.kind === "method" ? receiverOf(one) : one.owner, args as never[]);
}

/** Whatever a call changed for the whole process is as it was. */
function restored<T>(fn: () => T): T {
  try {
    return fn();
  } finally {
    torch.setDefaultDtype("float32");
    torch.setNumThreads(1);
    torch.setGradEnabled(true);
  }
}

export function exportTargets(): Target[] {
  const reachable = (one: Export): boolean => one.kind !== "method" || receiverOf(one) !== null;
  // Hooks, plugins' methods and what is marked internal are called by this project alone, with what they need.
  const called = (one: Export): boolean => !LEFT_OUT.test(one.path) && !isInternal(one.path);
  return walk()
    .exports.filter((one) => called(one) && reachable(one))
    .map((one) => {
      const row = Object.hasOwn(ROWS, one.path) ? ROWS[one.path] : undefined;
      const run = (args: readonly unknown[]): unknown =>
        restored(() => {
          const result = call(one, args);
          // A failure of what it promised is the program's; the fuzz has moved on.
          if (result instanceof Promise) result.catch(() => undefined);
          return undefined;
        });
      const shapes: ArgumentSchema[][] = [
        [ANY, ANY],
        [TENSOR, ANY, ANY],
        [ANY, ANY, ANY, ANY],
      ];
      return {
        name: one.path,
        overloads: shapes.map((args) => ({ overload: "", args })),
        // Every second call has the arguments that the table says come first.
        call: (args) => run(row !== undefined && args.length % 2 === 0 ? [...row().args, ...args] : args),
        leavesTensors: true,
      };
    });
}
