/** What a module's state dict consists of: the tensors of its tree, each under a key of its own. */
import { NbitError } from "../errors.js";
import type { Tensor } from "../tensor/tensor.js";
import { earlierKey, snakeCase } from "./keys.js";
import type { Tree } from "./tree.js";

/** One tensor of a module's state. */
export interface StateEntry {
  readonly key: string;
  /** As versions up to 0.1 wrote it; the same where they agree. */
  readonly earlier: string;
  readonly tensor: Tensor;
  /** It may be missing, as it is in files from before there was one. */
  readonly optional: boolean;
}

/**
 * In PyTorch's order: a module's own parameters, its own persistent buffers, then its children. Shared tensors appear
 * under every name.
 * @param fn - Whose errors they are.
 * @param optionalOf - Fields of a module's buffers that a state dict may lack.
 */
export function stateEntries<M>(
  fn: string,
  tree: Tree<M>,
  root: M,
  optionalOf: (module: M) => readonly string[],
): StateEntry[] {
  const entries: StateEntry[] = [];
  const path = new Set<M>();
  const collect = (module: M, prefix: string, earlierPrefix: string): void => {
    if (path.has(module))
      throw new NbitError(
        `${fn}: expected a tree of modules. Received: a cycle at "${prefix}". A module must not contain itself.`,
        "MODULE_CYCLE",
      );
    path.add(module);
    const fields = [...tree.fieldsOf(module)];
    checkKeys(fn, prefix, fields);
    const optional = new Set(optionalOf(module));
    const add = (name: string, tensor: Tensor): void =>
      void entries.push({
        key: prefix + snakeCase(name),
        earlier: earlierPrefix + earlierKey(name),
        tensor,
        optional: optional.has(name),
      });
    for (const field of fields) if (field.kind === "parameter") add(field.name, field.value);
    for (const field of fields) if (field.kind === "buffer" && field.persistent) add(field.name, field.value);
    for (const { kind, name, value } of fields)
      if (kind === "module") collect(value, `${prefix}${snakeCase(name)}.`, `${earlierPrefix}${earlierKey(name)}.`);
    path.delete(module);
  };
  collect(root, "", "");
  return entries;
}

/** Every field of the tree has a key of its own: two under one would be saved and loaded as one. */
function checkKeys(fn: string, prefix: string, fields: Iterable<{ readonly name: string }>): void {
  const known = new Map<string, string>();
  for (const { name } of fields) {
    const key = snakeCase(name);
    const other = known.get(key);
    if (other !== undefined)
      throw new NbitError(
        `${fn}: expected every field to have a key of its own. ` +
          `Received: ${other} and ${name}, both "${prefix}${key}". Rename one of them.`,
        "STATE_DICT_KEY",
      );
    if (name.includes("."))
      throw new NbitError(
        `${fn}: expected names of fields without dots, which separate modules in keys. ` +
          `Received: "${name}"${prefix === "" ? "" : ` in "${prefix.slice(0, -1)}"`}.`,
        "STATE_DICT_KEY",
      );
    known.set(key, name);
  }
}
