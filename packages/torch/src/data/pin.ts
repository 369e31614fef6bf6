/** Batches in page-locked memory, from which copies to a GPU need no waiting. */
import { info } from "../native.js";
import { isTensor } from "../tensor/handle.js";
import type { Tensor } from "../tensor/tensor.js";
import { isMap, isPlain } from "../realm.js";

/** @internal The same structure with every CPU tensor in pinned memory; as it is where there is no GPU to copy to. */
export function pinBatch<B>(batch: B): B {
  return info.cuda && info.cudaDevices > 0 ? (pin(batch) as B) : batch;
}

function pin(value: unknown): unknown {
  if (isTensor(value)) return pinTensor(value);
  if (Array.isArray(value)) return value.map(pin);
  if (isMap(value)) return new Map([...value].map(([key, item]) => [key, pin(item)]));
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pin(item)]));
}

function pinTensor(tensor: Tensor): Tensor {
  return tensor.device.type !== "cpu" || tensor.isPinned() ? tensor : tensor.pinMemory();
}
