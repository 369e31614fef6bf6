/** Photographs as tensors, by the libvips of whoever has loaded one. */
import { native } from "../native.js";
import { atMost } from "../options.js";
import { wrap } from "./handle.js";
import type { Tensor } from "./tensor.js";

/**
 * The pixels of a JPEG file of three channels, decoded on a thread of libuv's by the libvips that sharp has loaded
 * into this process: the bits that sharp gives, in little more than half of its processor time.
 *
 * @param source - A path, or the bytes, which are copied.
 * @returns uint8, `[3, H, W]`, in memory pixel by pixel; null where sharp is to read it: it is no such file, or it is damaged (sharp's error says
 *   how), or libvips is not loaded.
 */
export function decodePicture(source: string | Uint8Array): Promise<Tensor | null> {
  atMost("decodePicture", arguments, 1);
  return new Promise((resolve) => {
    const begun = native.decodePicture(source, (handle) => {
      resolve(handle === 0 ? null : wrap(handle));
    });
    if (!begun) resolve(null);
  });
}
