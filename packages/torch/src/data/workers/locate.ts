/** In which module a function was written: what a thread needs in order to have it too. */
import { Session } from "node:inspector";
import { ArgumentError } from "../../errors.js";

/** Where a function can be had: what a program may also write itself, as a dataset. */
export interface Place {
  /** URL of a module. */
  readonly module: string;
  /** Name of the export. */
  readonly export: string;
}
/** What a thread looks for in a module. */
export interface Located extends Place {
  /** The function as it is written: an export of another text is another function. Null: not compared. */
  readonly text: string | null;
}

interface Property {
  readonly name: string;
  readonly value?: { readonly value?: unknown };
}
interface Looked {
  readonly internal: readonly Property[];
  readonly hidden: readonly string[];
  readonly urlOf: (script: string) => string;
}

/**
 * V8's own knowledge of a value, by the protocol that debuggers speak; no debugger needs to be there, and one that is
 * does not notice. Costs a few milliseconds: once for a class, not for a value.
 */
function look(value: object): Looked {
  const runtime = ["bun", "deno"].find((name) => name in process.versions);
  if (runtime !== undefined)
    throw new ArgumentError(
      "DataLoader",
      `numWorkers to be 0 under ${runtime}, which does not tell in which module a class was written; or Node.js`,
      value,
    );
  const session = new Session();
  session.connect();
  const key = Symbol.for("@nbit/torch looks at");
  const scripts = new Map<string, string>();
  let looked: Looked = { internal: [], hidden: [], urlOf: () => "" };
  try {
    session.on("Debugger.scriptParsed", ({ params }) => scripts.set(params.scriptId, params.url));
    session.post("Debugger.enable");
    Reflect.set(globalThis, key, value);
    session.post(
      "Runtime.evaluate",
      { expression: `globalThis[Symbol.for(${JSON.stringify(key.description)})]` },
      (_, found) => {
        const objectId = found.result.objectId;
        if (objectId === undefined) return;
        session.post("Runtime.getProperties", { objectId, ownProperties: true }, (_failed, all) => {
          const hidden: unknown = Reflect.get(all, "privateProperties");
          looked = {
            internal: all.internalProperties ?? [],
            hidden: Array.isArray(hidden) ? hidden.map((p: Property) => p.name) : [],
            urlOf: (script) => scripts.get(script) ?? "",
          };
        });
      },
    );
  } finally {
    Reflect.deleteProperty(globalThis, key);
    session.disconnect();
  }
  return looked;
}

const known = new WeakMap<object, Located | null>();

/**
 * The module that a function or class was written in, and its name. Whether the module exports it is seen by the thread
 * that imports it. Null for what is in no module's file: bound functions, built-in ones, evaluated code.
 */
export function locate(fn: (...args: never[]) => unknown): Located | null {
  const before = known.get(fn);
  if (before !== undefined) return before;
  const { internal, urlOf } = look(fn);
  const at = internal.find((p) => p.name === "[[FunctionLocation]]")?.value?.value as
    { readonly scriptId: string } | undefined;
  const url = at === undefined ? "" : urlOf(at.scriptId);
  const located = /^(file|data|https?):/.test(url) ? { module: url, export: fn.name, text: String(fn) } : null;
  known.set(fn, located);
  return located;
}

/** Names of the `#private` fields of an object, which nothing outside of its class can read. */
export function privateFields(value: object): readonly string[] {
  return look(value).hidden;
}
