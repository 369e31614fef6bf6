/** What a machine has to offer, and data on its way there. */
import { availableParallelism } from "node:os";
import { atMost, checkArguments, cuda, device, kinds, tensor, type DeviceLike, type Tensor } from "@nbit/torch";
import { isError } from "@nbit/torch/realm";
import { mapTensors, onDevice } from "../collections.js";
import { MisconfigurationError } from "../errors.js";

/**
 * An upper bound for `numWorkers` of a data loader: the processors this process may use, shared among the processes of
 * this machine, less one each for training. At least 1.
 */
export function suggestedMaxNumWorkers(localWorldSize: number): number {
  atMost("suggestedMaxNumWorkers", arguments, 1);
  checkArguments("suggestedMaxNumWorkers", { localWorldSize }, { localWorldSize: kinds.whole("[1, ∞)") });
  return Math.max(1, Math.floor(availableParallelism() / localWorldSize) - 1);
}

/**
 * GPUs on which a tensor can be made now: another process may have one for itself.
 *
 * @param numDevices - How many are wanted; -1 (the default): all there are.
 * @returns Their numbers.
 * @throws {MisconfigurationError} `ERR_NO_DEVICE` where there are fewer.
 */
export function findUsableCudaDevices(numDevices = -1): number[] {
  atMost("findUsableCudaDevices", arguments, 1);
  checkArguments("findUsableCudaDevices", { numDevices }, { numDevices: kinds.whole("[-1, ∞)") });
  if (numDevices === 0) return [];
  const count = cuda.isAvailable() ? cuda.deviceCount() : 0;
  const usable: number[] = [];
  for (let i = 0; i < count && usable.length !== numDevices; i++) if (isUsable(i)) usable.push(i);
  if (numDevices === -1 ? count === 0 : usable.length < numDevices)
    throw new MisconfigurationError(
      "findUsableCudaDevices",
      `${numDevices === -1 ? "a CUDA device" : `${numDevices} CUDA devices`} that can be used`,
      `${usable.length} of ${count}`,
      count > usable.length ? "Other processes may have the others for themselves: nvidia-smi shows which." : undefined,
      "ERR_NO_DEVICE",
    );
  return usable;
}

function isUsable(index: number): boolean {
  try {
    tensor(0, { device: device(`cuda:${index}`) }).dispose();
    return true;
  } catch (error) {
    if (isError(error)) return false;
    throw error;
  }
}

/**
 * A collection with every tensor in it on a device, and every object that has a method `to` replaced by what that
 * gives: in arrays, plain objects and Maps. What is there already stays itself. Waits for nothing.
 */
export function moveDataToDevice<T>(batch: T, target: DeviceLike): T {
  atMost("moveDataToDevice", arguments, 2);
  return onDevice(batch, device(target)) as T;
}

/** A collection with every tensor in it detached from autograd's graph, and on the CPU if `toCpu`, which waits. */
export function recursiveDetach<T>(collection: T, toCpu = false): T {
  atMost("recursiveDetach", arguments, 2);
  checkArguments("recursiveDetach", { toCpu }, { toCpu: kinds.flag });
  return mapTensors(collection, (t: Tensor) => (toCpu ? t.detach().cpu() : t.detach())) as T;
}
