/** Bytes of tensors, on their way into files. */
import { scope, type Tensor } from "../tensor/index.js";

// Bytes copied out of a tensor at a time: large enough to cost nothing, small enough not to count.
const CHUNK = 4 << 20;

/** @internal The tensor's bytes in row-major order, piece by piece, each with memory of its own. */
export function eachChunk(tensor: Tensor, take: (bytes: Uint8Array<ArrayBuffer>) => void): void {
  scope(() => {
    const here = tensor.detach().cpu();
    if (here.nbytes <= CHUNK || !here.isContiguous()) {
      take(new Uint8Array(here.toBytes()));
      return;
    }
    const bytes = here.view([-1]).view("uint8");
    const size = here.nbytes;
    for (let at = 0; at < size; at += CHUNK) {
      const part = bytes.narrow(0, at, Math.min(CHUNK, size - at));
      take(new Uint8Array(part.toBytes()));
      part.dispose();
    }
  });
}
