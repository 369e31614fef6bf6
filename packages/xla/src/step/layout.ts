/** How a piece of memory lies on the devices, and the way there and back. */
import { cat, empty, noGrad, scope, type DType, type Tensor } from "@nbit/torch";
import type { DeviceBuffer, StepDevice } from "./device.js";

export interface Layout {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The dimension that is split among the devices; null: each has all of it. */
  readonly split: number | null;
  /** Devices of the program. */
  readonly partitions: number;
}

export function sameLayout(a: Layout, b: Layout): boolean {
  const same = a.dtype === b.dtype && a.split === b.split && a.partitions === b.partitions;
  return same && a.shape.length === b.shape.length && a.shape.every((n, i) => n === b.shape[i]);
}

/** Copy a tensor of the host, of the layout's number of elements, to the devices. */
export function upload(device: StepDevice, tensor: Tensor, layout: Layout): DeviceBuffer[] {
  const { dtype, shape, split, partitions } = layout;
  if (partitions === 1 && tensor.dtype === dtype && tensor.isContiguous())
    return [device.upload(0, tensor.dataPtr(), tensor.nbytes, dtype, shape)];
  return scope(() =>
    noGrad(() => {
      const whole = tensor.detach().to(dtype).reshape(shape);
      const pieces = split === null ? Array.from({ length: partitions }, () => whole) : whole.chunk(partitions, split);
      return pieces.map((piece, d) => {
        const dense = piece.contiguous();
        return device.upload(d, dense.dataPtr(), dense.nbytes, dtype, dense.shape);
      });
    }),
  );
}

/** Copy from the devices into a tensor of the host. Waits for them. */
export function download(buffers: readonly DeviceBuffer[], layout: Layout, into: Tensor): void {
  const { dtype, shape, split } = layout;
  const [first] = buffers;
  if (first === undefined) return;
  if (split === null && into.dtype === dtype && into.isContiguous()) {
    first.readInto(into.dataPtr(), into.nbytes);
    return;
  }
  scope(() =>
    noGrad(() => {
      const piece = split === null ? shape : shape.map((n, i) => (i === split ? n / buffers.length : n));
      const pieces = (split === null ? [first] : buffers).map((buffer) => {
        const part = empty(piece, { dtype });
        buffer.readInto(part.dataPtr(), part.nbytes);
        return part;
      });
      into.copy_((pieces.length === 1 ? (pieces[0] as Tensor) : cat(pieces, split ?? 0)).reshape(into.shape));
    }),
  );
}
