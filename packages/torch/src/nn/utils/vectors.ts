/** All parameters as one vector, and back. */
import { ArgumentError } from "../../errors.js";
import { iterable, such } from "../../kinds.js";
import { cat } from "../../ops/index.js";
import { atMost, checkArguments, type OptionNames } from "../../options.js";
import { iterated } from "../../read-once.js";
import { signature, type Call } from "../../signature.js";
import { isTensor } from "../../tensor/handle.js";
import { tensorKind } from "../../tensor/kinds.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";

function listOf(fn: string, parameters: Iterable<Tensor>): Tensor[] {
  const list = iterated(fn, "parameters", parameters);
  for (const each of list) if (!isTensor(each)) throw new ArgumentError(fn, "parameters to be tensors", each);
  const tensors = list as Tensor[];
  const first = tensors[0]?.device.toString();
  for (const each of tensors)
    if (each.device.toString() !== first) throw new ArgumentError(fn, `parameters on one device (${first})`, each);
  return tensors;
}

/** The elements of all tensors, one after the other: `[Σ numel]`, with a graph. */
export function parametersToVector(parameters: Iterable<Tensor>): Tensor {
  atMost("parametersToVector", arguments, 1);
  checkArguments("parametersToVector", { parameters }, { parameters: iterable });
  return scope(() => cat(listOf("parametersToVector", parameters).map((each) => each.view([-1]))));
}

export interface VectorArguments {
  readonly vec: Tensor;
  readonly parameters: Iterable<Tensor>;
}
const read = signature("vectorToParameters", {
  vec: tensorKind,
  parameters: such<Iterable<Tensor>>(iterable.words, iterable.accepts),
} satisfies OptionNames<VectorArguments>);
/**
 * Give each parameter its part of a vector, as {@link parametersToVector} makes it: they keep their identity and share
 * the vector's memory. Arguments: vec, parameters.
 * @throws {ArgumentError} for a vector with more or fewer elements than the parameters have.
 */
export function vectorToParameters(
  ...given: Call<VectorArguments, ["vec", "parameters"], [vec: Tensor, parameters: Iterable<Tensor>]>
): void {
  const { vec, parameters } = read(given);
  const list = listOf("vectorToParameters", parameters);
  const total = list.reduce((sum, each) => sum + each.numel(), 0);
  if (vec.ndim !== 1 || vec.numel() !== total)
    throw new ArgumentError("vectorToParameters", `vec to have as many elements as the parameters (${total})`, vec);
  scope(() => {
    let start = 0;
    for (const each of list) {
      const n = each.numel();
      each.setData(
        vec
          .detach()
          .narrow(0, start, n)
          .view([...each.shape]),
      );
      start += n;
    }
  });
}
