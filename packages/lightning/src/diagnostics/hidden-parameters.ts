/**
 * Layers that a module holds where its tree does not look: in an array, a Map or a plain object. They would neither
 * learn nor be saved.
 */
import { isTensor, nn } from "@nbit/torch";
import { isPlainObject } from "../collections.js";
import { isMap, isSet } from "@nbit/torch/realm";

/** What is wrong with one field, as a sentence. */
export function hiddenParameters(module: nn.Module): string[] {
  const seen = new Set<unknown>([...module.modules(), ...module.parameters(), ...module.buffers()]);
  const unseen = (value: unknown): boolean =>
    (value instanceof nn.Module || value instanceof nn.Parameter) && !seen.has(value);
  const found: string[] = [];
  for (const [path, each] of module.namedModules()) {
    for (const [name, value] of Object.entries(each)) {
      const where = [module.constructor.name || "the module", path, name].filter((part) => part !== "").join(".");
      if (isTensor(value)) {
        if (!value.disposed && value.isLeaf && value.requiresGrad && !seen.has(value))
          found.push(`${where} is a tensor that requires grad, but no parameter. Use new nn.Parameter(…).`);
        continue;
      }
      const elements = Array.isArray(value)
        ? (value as unknown[])
        : isMap(value) || isSet(value)
          ? [...value.values()]
          : isPlainObject(value)
            ? Object.values(value)
            : [];
      if (!elements.some(unseen)) continue;
      const kind = Array.isArray(value)
        ? "an array"
        : isMap(value)
          ? "a Map"
          : isSet(value)
            ? "a Set"
            : "a plain object";
      const modules = elements.every((element) => element instanceof nn.Module);
      found.push(
        `${where} is ${kind} with layers or parameters in it, which are not seen there. Use ${modules ? "new nn.ModuleList([…])" : "a field for each, or new nn.ModuleList([…])"}.`,
      );
    }
  }
  return found;
}
