/** What several processes predicted, together. */
import { keep, packState, SafetensorsFile, scope, serializeSafetensors, unpackState, type Tensor } from "@nbit/torch";
import { eachTensor } from "../collections.js";
import type { Collectives } from "../strategies/strategy.js";

/**
 * Everybody's predictions, batch by batch in turn: the order of one process, where batches were dealt out in turn. Each
 * process gets all of them, on the CPU.
 */
export function gatherPredictions(collectives: Collectives, mine: readonly unknown[]): unknown[] {
  const all = collectives.allGatherObject(pack(mine)).map(unpack);
  const most = Math.max(...all.map((of) => of.length));
  return Array.from({ length: most }, (_, i) => all.flatMap((of) => (i < of.length ? [{ value: of[i] }] : [])))
    .flat()
    .map(({ value }) => value);
}

interface Packed {
  readonly json: string;
  readonly tensors: Uint8Array;
}

function pack(predictions: readonly unknown[]): Packed {
  const { json, tensors } = packState(predictions);
  return { json, tensors: scope(() => serializeSafetensors(tensors)) };
}

function unpack({ json, tensors }: Packed): unknown[] {
  const file = SafetensorsFile.over(tensors);
  const byName: Record<string, Tensor> = Object.fromEntries(file.names.map((name) => [name, file.get(name)]));
  const predictions = unpackState({ json, tensors: byName }) as unknown[];
  eachTensor(predictions, keep);
  return predictions;
}
