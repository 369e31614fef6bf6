/**
 * Memory of the host that lives on a device while steps run there. Its values are true in one place: on the host, or on
 * the device, while every tensor that the program knows over it is asleep until somebody uses it.
 */
import { outsideScopes, weightsEpoch, type Tensor } from "@nbit/torch";
import { defer, undefer } from "@nbit/torch/deferred";
import type { DeviceBuffer, StepDevice } from "./device.js";
import { download, sameLayout, upload, type Layout } from "./layout.js";

/** A region of a storage: one argument of programs. */
class Region {
  buffers: readonly DeviceBuffer[] | null = null;
  layout: Layout | null = null;
  /** Of the host's tensors when both places had the same values; null: the device's are newer. */
  version: number | null = null;
  /** By a program: what optimizers step, too. */
  written = false;

  /** `home`: a tensor over all of the region, which nobody else has. */
  constructor(public home: Tensor) {}

  get isNewerOnDevice(): boolean {
    return this.buffers !== null && this.version === null;
  }
  free(): void {
    for (const buffer of this.buffers ?? []) buffer.dispose();
    this.buffers = null;
    this.layout = null;
  }
}

/** One storage of the host, in regions. */
export class Resident {
  readonly #device: StepDevice;
  readonly #regions: Region[] = [];
  /** Tensors of the program's over this storage. */
  readonly #members = new Set<Tensor>();

  constructor(device: StepDevice) {
    this.#device = device;
  }

  /** A tensor that sleeps when the device has written. */
  add(member: Tensor): void {
    this.#members.add(member);
  }

  /** `home`: over the region, not asleep, and kept from here on. One of the same elements is one region. */
  region(home: Tensor): number {
    const at = this.#regions.findIndex(({ home: known }) => sameElements(known, home));
    if (at >= 0) return at;
    this.#regions.push(new Region(outsideScopes(() => home.detach())));
    return this.#regions.length - 1;
  }

  /** The buffers of a region as an argument: what the host has changed is copied first. */
  argument(at: number, layout: Layout): readonly DeviceBuffer[] {
    const region = this.#regions[at] as Region;
    // Regions may overlap: another's values come to the host before this one's are read there.
    if (this.#regions.some((other) => other !== region && other.isNewerOnDevice)) this.#pullOthers(region);
    if (region.layout !== null && !sameLayout(region.layout, layout)) {
      this.pull();
      region.free();
    }
    if (region.buffers === null || (region.version !== null && this.#versions(region) !== region.version)) {
      region.free();
      region.buffers = upload(this.#device, region.home, layout);
      region.layout = layout;
      region.version = this.#versions(region);
    }
    return region.buffers;
  }
  #pullOthers(region: Region): void {
    const overlap = this.#regions.filter((other) => other !== region && overlaps(other.home, region.home));
    if (overlap.some((other) => other.isNewerOnDevice)) {
      this.pull();
      for (const other of overlap) other.free();
      region.free();
    }
  }

  /** A program has written a region: its buffers hold the values of now. */
  wrote(at: number): void {
    const region = this.#regions[at] as Region;
    if (region.isNewerOnDevice) return; // all are asleep already
    region.version = null;
    region.written = true;
    for (const member of this.#members) defer(member, this.#fetch);
  }
  readonly #fetch = (): void => this.pull();

  /** Bring values that are newer on the device to the host. Waits for it. */
  pull(): void {
    for (const region of this.#regions) {
      if (region.version !== null || region.buffers === null || region.layout === null) continue;
      download(region.buffers, region.layout, region.home);
    }
    for (const member of this.#members) undefer(member);
    for (const region of this.#regions) if (region.isNewerOnDevice) region.version = this.#versions(region);
  }
  /**
   * Grows with every change by the host: fused steps of what is written change the epoch, all else versions. A view that an operator made
   * below autograd counts for itself.
   */
  #versions({ home, written }: Region): number {
    let sum = (written ? weightsEpoch() : 0) + home.version;
    for (const member of this.#members) sum += member.version;
    return sum;
  }

  /** Nothing stays on the device: its values come to the host, or with `pulls: false` are lost. */
  release(pulls: boolean): void {
    if (pulls) this.pull();
    for (const member of this.#members) undefer(member);
    this.#members.clear();
    for (const region of this.#regions.splice(0)) {
      region.free();
      region.home.dispose();
    }
  }
}

const extent = (t: Tensor): [first: number, end: number] => {
  const first = t.storageOffset();
  const strides = t.stride();
  return [first, first + t.shape.reduce((sum, n, i) => sum + (n - 1) * (strides[i] as number), 1)];
};
function overlaps(a: Tensor, b: Tensor): boolean {
  if (a.numel() === 0 || b.numel() === 0) return false;
  const [[a0, a1], [b0, b1]] = [extent(a), extent(b)];
  return a.dtype !== b.dtype || (a0 < b1 && b0 < a1);
}
function sameElements(a: Tensor, b: Tensor): boolean {
  return (
    a.dtype === b.dtype &&
    a.storageOffset() === b.storageOffset() &&
    a.shape.join() === b.shape.join() &&
    a.stride().join() === b.stride().join()
  );
}
