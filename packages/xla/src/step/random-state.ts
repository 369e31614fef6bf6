/** The state of a device's generator, which every step that draws takes and gives back. */
import { empty, initialSeed, keep, noGrad, outsideScopes, scope, tensor, type Tensor } from "@nbit/torch";
import type { DeviceBuffer, StepDevice } from "./device.js";
import { download, upload, type Layout } from "./layout.js";

export class RandomState {
  #buffers: readonly DeviceBuffer[] | null = null;
  #layout: Layout | null = null;
  /** On the host, int64 `[2]`: a seed and a counter. Null: the device's is newer, or nobody has drawn. */
  #state: Tensor | null = null;

  buffers(device: StepDevice, layout: Layout): readonly DeviceBuffer[] {
    if (this.#buffers !== null && this.#layout?.partitions === layout.partitions) return this.#buffers;
    const from = this.#now();
    this.#free();
    this.#layout = layout;
    this.#buffers = scope(() => upload(device, from.view(layout.dtype), layout));
    return this.#buffers;
  }
  /** A step has drawn: the buffers hold what came of it. */
  drawn(): void {
    this.#state?.dispose();
    this.#state = null;
  }

  /** As it is now, uint8 `[16]`, for a checkpoint; null: nothing has drawn. Waits for the device. */
  state(): Tensor | null {
    return this.#state === null && this.#buffers === null ? null : this.#now().view("uint8");
  }
  /** Before the first draw: the seed of the host's generator. */
  #now(): Tensor {
    if (this.#state !== null) return this.#state;
    const [buffers, layout] = [this.#buffers, this.#layout];
    return (this.#state = outsideScopes(() => {
      if (buffers === null || layout === null)
        return tensor([BigInt.asIntN(64, initialSeed()), 0n], { dtype: "int64" });
      const into = empty([2], { dtype: "int64" });
      scope(() => download(buffers, layout, into.view(layout.dtype)));
      return into;
    }));
  }
  /** Go on from what `state` was; null: as if nothing had drawn. */
  load(state: Tensor | null): void {
    const next = state === null ? null : keep(noGrad(() => state.clone().view("int64")));
    this.#free();
    this.#state?.dispose();
    this.#state = next;
  }

  /** Nothing stays on the device; `pulls`: what it is now stays known. */
  release(pulls: boolean): void {
    if (pulls && this.#buffers !== null) this.#now();
    this.#free();
  }
  #free(): void {
    for (const buffer of this.#buffers ?? []) buffer.dispose();
    this.#buffers = null;
    this.#layout = null;
  }
}
