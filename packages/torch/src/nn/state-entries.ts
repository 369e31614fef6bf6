/** What a module's state dict consists of: the tensors of its tree, each under a key of its own. */
import type { Tensor } from "../tensor/tensor.js";
import { earlierKey } from "./keys.js";
import { cycle, type Tree } from "./tree.js";

/** One tensor of a module's state. */
export interface StateEntry<M> {
  readonly key: string;
  /** As versions up to 0.1 wrote it; the same where they agree. */
  readonly earlier: string;
  readonly tensor: Tensor;
  /** It may be missing, as it is in files from before there was one. */
  readonly optional: boolean;
  /** Whose field it is, and which. */
  readonly owner: M;
  readonly name: string;
}
/** What is done with each module of the tree on the way: with its path in front of keys, dot included. */
export interface StateVisits<M> {
  before?(module: M, prefix: string): void;
  /** Its own entries are there, those of its children are not. */
  own?(module: M, prefix: string): void;
  /** All below it are there. */
  after?(module: M, prefix: string): void;
}

/**
 * In PyTorch's order: a module's own parameters, its own persistent buffers, then its children. Shared tensors appear
 * under every name.
 * @param fn - Whose errors they are.
 * @param add - Takes each.
 * @param optionalOf - Fields of a module's buffers that a state dict may lack.
 */
export function eachState<M>(
  fn: string,
  tree: Tree<M>,
  root: M,
  prefix: string,
  optionalOf: (module: M) => readonly string[],
  add: (entry: StateEntry<M>) => void,
  visits: StateVisits<M> = {},
): void {
  const path = new Set<M>();
  const collect = (module: M, front: string, earlierFront: string): void => {
    if (path.has(module)) throw cycle(fn, front.slice(0, -1));
    path.add(module);
    visits.before?.(module, front);
    const fields = tree.fields(fn, module, front.slice(0, -1));
    const optional = new Set(optionalOf(module));
    for (const kind of ["parameter", "buffer"] as const)
      for (const field of fields)
        if (field.kind === kind && (field.kind === "parameter" || field.persistent))
          add({
            key: front + field.key,
            earlier: earlierFront + earlierKey(field.name),
            tensor: field.value,
            optional: optional.has(field.name),
            owner: module,
            name: field.name,
          });
    visits.own?.(module, front);
    for (const field of fields)
      if (field.kind === "module")
        collect(field.value, `${front}${field.key}.`, `${earlierFront}${earlierKey(field.name)}.`);
    visits.after?.(module, front);
    path.delete(module);
  };
  collect(root, prefix, prefix);
}
