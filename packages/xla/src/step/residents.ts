import type { Tensor } from "@nbit/torch";
import type { StepDevice } from "./device.js";
import { Resident } from "./resident.js";

/** Address of the first byte of a tensor's storage: tensors with the same one share memory. */
export function storageOf(tensor: Tensor): number {
  return tensor.dataPtr() - tensor.storageOffset() * tensor.itemsize;
}

/** All memory of the host that steps keep on a device. */
export class Residents {
  readonly device: StepDevice;
  readonly #all = new Map<number, Resident>();

  constructor(device: StepDevice) {
    this.device = device;
  }

  /** Of the storage of a tensor. Wakes it. */
  of(tensor: Tensor): Resident {
    const storage = storageOf(tensor);
    let found = this.#all.get(storage);
    if (found === undefined) this.#all.set(storage, (found = new Resident(this.device)));
    return found;
  }

  /** Everything comes back to the host. Waits for the device. */
  pull(): void {
    for (const resident of this.#all.values()) resident.pull();
  }

  /** Everything leaves the device; `pulls`: its values come back first. */
  release(pulls: boolean): void {
    for (const resident of this.#all.values()) resident.release(pulls);
    this.#all.clear();
  }
}
