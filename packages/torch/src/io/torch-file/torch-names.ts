/** State dicts of ours in PyTorch's names, wherever they stand in what is saved. */
import { isSchedulerState, schedulerToTorch } from "../../optim/lr/torch-state.js";
import { toTorch } from "../../optim/torch-state.js";
import { isPlain } from "../../realm.js";

type Fields = Readonly<Record<string, unknown>>;
const known = new WeakMap<object, Fields>();

/** The object itself, or what PyTorch would have in its place. The same object has always the same. */
export function inTorchNames(object: object): Fields {
  const fields = object as Fields;
  const optimizer = isOptimizerState(fields);
  if (!optimizer && !isSchedulerState(fields)) return fields;
  let found = known.get(object);
  if (found === undefined) known.set(object, (found = optimizer ? { ...toTorch(fields) } : schedulerToTorch(fields)));
  return found;
}

function isOptimizerState(o: Fields): boolean {
  const groups: unknown = o["paramGroups"];
  return (
    isPlain(o["state"]) &&
    Array.isArray(groups) &&
    groups.every((g: unknown) => isPlain(g) && Array.isArray(g["params"]))
  );
}
