/** Optimizer state in pinned host memory, brought to the device for the moment of its step. */
import { cuda, operators, outsideScopes, scope, empty, type Tensor } from "@nbit/torch";

/** One parameter's state on the host, and the step that needs it on the device. */
export interface OffloadedStep {
  /** Pinned host tensors; those without elements are passed through as empty. */
  readonly host: readonly Tensor[];
  /** Gets copies on the device, in the same order, and changes them in place. */
  run(device: readonly Tensor[]): void;
}

/** Pinned host memory, which the device copies from and to by itself. */
export function pinned(t: Tensor): Tensor {
  return scope(() => t.cpu().pinMemory());
}

const ALIGNMENT = 256;
const roundUp = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
const bytesOf = (step: OffloadedStep): number => step.host.reduce((sum, t) => sum + roundUp(t.nbytes), 0);

interface Slot {
  readonly memory: Tensor;
  readonly loaded: cuda.Event;
  readonly stepped: cuda.Event;
  readonly saved: cuda.Event;
}

/**
 * Steps parameter after parameter with two buffers on the device: while one is stepped, the next one's state is on its
 * way in and the last one's on its way out, each on a stream of its own. The device holds the state of two parameters
 * instead of all. Nothing waits on the host.
 */
export class Offload {
  readonly #incoming: cuda.Stream;
  readonly #outgoing: cuda.Stream;
  #slots: readonly Slot[] = [];
  #capacity = 0;

  constructor(readonly device: string) {
    this.#incoming = cuda.Stream.create({ device });
    this.#outgoing = cuda.Stream.create({ device });
  }
  /** Bytes that the buffers take on the device. */
  get deviceBytes(): number {
    return this.#slots.length * this.#capacity;
  }

  run(steps: readonly OffloadedStep[]): void {
    const main = cuda.Stream.current(this.device);
    this.#reserve(Math.max(0, ...steps.map(bytesOf)), main);
    // Behind everything that the last step still writes.
    this.#incoming.waitStream(main);
    steps.forEach((step, i) => {
      const slot = this.#slots[i % 2] as Slot;
      scope(() => {
        const parts = this.#parts(slot.memory, step.host);
        if (i >= 2) this.#incoming.waitEvent(slot.saved);
        this.#incoming.run(() => parts.forEach((part, k) => part.copy_(step.host[k] as Tensor, true)));
        slot.loaded.record(this.#incoming);
        main.waitEvent(slot.loaded);
        step.run(parts);
        slot.stepped.record(main);
        this.#outgoing.waitEvent(slot.stepped);
        this.#outgoing.run(() => parts.forEach((part, k) => (step.host[k] as Tensor).copy_(part, true)));
        slot.saved.record(this.#outgoing);
      });
    });
    main.waitStream(this.#outgoing);
  }

  #reserve(bytes: number, main: cuda.Stream): void {
    if (bytes <= this.#capacity) return;
    // The old buffers may still be on their way out.
    main.waitStream(this.#outgoing);
    for (const slot of this.#slots) slot.memory.dispose();
    this.#capacity = bytes;
    this.#slots = outsideScopes(() =>
      [0, 1].map(() => ({
        memory: empty([bytes], { dtype: "uint8", device: this.device }),
        loaded: new cuda.Event(),
        stepped: new cuda.Event(),
        saved: new cuda.Event(),
      })),
    );
  }

  #parts(memory: Tensor, host: readonly Tensor[]): Tensor[] {
    const asDType = operators("aten")["view"];
    let at = 0;
    return host.map((t) => {
      const start = at;
      at += roundUp(t.nbytes);
      const bytes = memory.slice(0, start, start + t.nbytes);
      return (asDType?.["dtype"]?.(bytes, t.dtype) as Tensor).view([...t.shape]);
    });
  }
}
