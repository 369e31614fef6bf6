/** The tree that the fields of modules make: what a field is in it, and the walks over it. */
import { ArgumentError, NbitError } from "../errors.js";
import type { Parameter } from "./parameter.js";
import type { Tensor } from "../tensor/tensor.js";

interface Named {
  /** Of the field. */
  readonly name: string;
  /** Its part of the names in state dicts. */
  readonly key: string;
}
/** A field that belongs to the tree. */
export type Field<M> = Named &
  (
    | { readonly kind: "module"; readonly value: M }
    | { readonly kind: "parameter"; readonly value: Parameter }
    | { readonly kind: "buffer"; readonly value: Tensor; readonly persistent: boolean }
    /** A tensor where a parameter was. */
    | { readonly kind: "misplaced"; readonly value: Tensor }
  );

export interface NamedOptions {
  /** Before every name. Default none. */
  readonly prefix?: string;
  /** Those of the modules below too. Default true. */
  readonly recurse?: boolean;
  /** What stands in several places under the first name alone. Default true. */
  readonly removeDuplicate?: boolean;
}
export interface NamedModulesOptions {
  /** Before every name. Default none. */
  readonly prefix?: string;
  /** A module that stands in several places under the first name alone. Default true. */
  readonly removeDuplicate?: boolean;
}

type Walk<T> = IterableIterator<[name: string, value: T]>;

/** Walks over modules of type M, whose own fields `fieldsOf` tells in the order of declaration. `fn` is whose errors they are. */
export class Tree<M> {
  readonly #fieldsOf: (module: M) => readonly Field<M>[];

  constructor(fieldsOf: (module: M) => readonly Field<M>[]) {
    this.#fieldsOf = fieldsOf;
  }

  /** The own fields of the module at a path: each with a key of its own, no tensor where a parameter belongs. */
  fields(fn: string, module: M, path: string): readonly Field<M>[] {
    const fields = this.#fieldsOf(module);
    check(fn, path, fields);
    return fields;
  }

  /** Direct submodules with their fields; each once. */
  *children(
    fn: string,
    module: M,
    path = "",
  ): IterableIterator<{ readonly name: string; readonly key: string; readonly value: M }> {
    const seen = new Set<M>();
    for (const field of this.fields(fn, module, path))
      if (field.kind === "module" && !seen.has(field.value)) {
        seen.add(field.value);
        yield field;
      }
  }

  /** A module and all below it by path, parents first; each once, so that cycles end. */
  *modules(fn: string, module: M, path = "", seen = new Set<M>()): Walk<M> {
    if (seen.has(module)) return;
    seen.add(module);
    yield [path, module];
    for (const { key, value } of this.children(fn, module, path))
      yield* this.modules(fn, value, below(path, key), seen);
  }

  /** The same, each under every name that it has. */
  *everyModule(fn: string, module: M, path = "", above = new Set<M>()): Walk<M> {
    if (above.has(module)) throw cycle(fn, path);
    above.add(module);
    yield [path, module];
    for (const field of this.fields(fn, module, path))
      if (field.kind === "module") yield* this.everyModule(fn, field.value, below(path, field.key), above);
    above.delete(module);
  }

  parameters(fn: string, module: M, options: NamedOptions): Walk<Parameter> {
    return this.#named(fn, module, options, (field) => (field.kind === "parameter" ? field.value : null));
  }
  buffers(fn: string, module: M, options: NamedOptions): Walk<Tensor> {
    return this.#named(fn, module, options, (field) => (field.kind === "buffer" ? field.value : null));
  }
  /** What `pick` takes of the fields, by path. */
  *#named<T>(
    fn: string,
    module: M,
    { prefix = "", recurse = true, removeDuplicate = true }: NamedOptions,
    pick: (field: Field<M>) => T | null,
  ): Walk<T> {
    const seen = new Set<T>();
    const modules: Iterable<[string, M]> = !recurse
      ? [[prefix, module]]
      : removeDuplicate
        ? this.modules(fn, module, prefix)
        : this.everyModule(fn, module, prefix);
    for (const [path, each] of modules)
      for (const field of this.fields(fn, each, path)) {
        const value = pick(field);
        if (value === null || (removeDuplicate && seen.has(value))) continue;
        seen.add(value);
        yield [below(path, field.key), value];
      }
  }

  /**
   * Calls `call` for every module, children before their parent. One that stands in several places is met in each; a
   * cycle ends.
   */
  childrenFirst(fn: string, module: M, call: (module: M) => void, path = new Set<M>()): void {
    if (path.has(module)) return;
    path.add(module);
    for (const { value } of this.children(fn, module)) this.childrenFirst(fn, value, call, path);
    call(module);
    path.delete(module);
  }

  /** The field at a path of keys, or of the fields' own names; null: there is none. */
  find(fn: string, module: M, path: string): Field<M> | null {
    let found: Field<M> | undefined;
    let at: M | null = module;
    for (const part of path.split(".")) {
      if (at === null) return null;
      const fields: readonly Field<M>[] = this.fields(fn, at, "");
      found = fields.find((field) => field.key === part) ?? fields.find((field) => field.name === part);
      if (found === undefined) return null;
      at = found.kind === "module" ? found.value : null;
    }
    return found ?? null;
  }
}

export function cycle(fn: string, path: string): NbitError {
  return new NbitError(
    `${fn}: expected a tree of modules. Received: a cycle at "${path}". A module must not contain itself.`,
    "MODULE_CYCLE",
  );
}

/** The path of a module's field. */
export function below(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function check(fn: string, path: string, fields: readonly Field<unknown>[]): void {
  let renamed = false;
  for (const field of fields) {
    if (field.kind === "misplaced")
      throw new ArgumentError(
        fn,
        `${below(path, field.name)} to be a Parameter or null`,
        field.value,
        `Write new nn.Parameter(…) for a new one, or noGrad(() => …copy_(…)) to change the values of the old.`,
      );
    if (field.key !== field.name) renamed = true;
    if (field.key.includes("."))
      throw new NbitError(
        `${fn}: expected names of fields without dots, which separate modules in keys. ` +
          `Received: "${field.name}"${path === "" ? "" : ` in "${path}"`}.`,
        "STATE_DICT_KEY",
      );
  }
  if (!renamed) return;
  const names = new Map<string, string>();
  for (const { name, key } of fields) {
    const other = names.get(key);
    if (other !== undefined)
      throw new NbitError(
        `${fn}: expected every field to have a key of its own. ` +
          `Received: ${other} and ${name}, both "${below(path, key)}". ` +
          `Rename one of them, or give it a key of its own: static stateKeys = { ${name}: "…" }.`,
        "STATE_DICT_KEY",
      );
    names.set(key, name);
  }
}
