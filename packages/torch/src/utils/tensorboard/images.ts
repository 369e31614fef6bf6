/** Tensors as pictures. */
import { ArgumentError } from "../../errors.js";
import { Message } from "../../io/protobuf.js";
import { cat, full, stack } from "../../ops/index.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { animatedPng, png, type Pixels } from "./png.js";

/** `Summary.Image` of a file. */
export function imageProto({ height, width, channels }: Omit<Pixels, "data">, file: Uint8Array): Message {
  return new Message().int(1, height).int(2, width).int(3, channels).bytes(4, file);
}
export function imageOf(pixels: Pixels): Message {
  return imageProto(pixels, png(pixels));
}

/**
 * A tensor as pixels: uint8 as it is, of other dtypes 0 … 1 become 0 … 255, and what is beyond is cut off. Several are
 * laid out in rows of eight.
 * @param formats - A letter per dimension: N, C, H and W in any order, or without N, or without N and C.
 */
export function pixelsOf(fn: string, image: Tensor, formats: string): Pixels {
  return scope(() => pixels(fn, toBytes(laidOut(fn, image, formats))));
}

/** 0 … 255 of any image. */
function toBytes(image: Tensor): Tensor {
  if (image.dtype === "uint8") return image;
  return image.detach().to("float32").mul(255).clamp(0, 255).to("uint8");
}

/** `[H, W, C]` of uint8. */
function pixels(fn: string, image: Tensor): Pixels {
  const [height = 0, width = 0, channels = 0] = image.shape;
  if (height === 0 || width === 0 || channels < 1 || channels > 4)
    throw new ArgumentError(fn, "an image of 1 to 4 channels that is not empty", image);
  return {
    height,
    width,
    channels: channels as Pixels["channels"],
    data: new Uint8Array(image.cpu().contiguous().toBytes()),
  };
}

/** `[H, W, C]`. */
function laidOut(fn: string, image: Tensor, formats: string): Tensor {
  const letters = formats.toUpperCase();
  const order = { 4: "NCHW", 3: "HWC", 2: "HW" }[letters.length];
  if (order === undefined || [...letters].sort().join("") !== [...order].sort().join(""))
    throw new ArgumentError(fn, "dataformats to be letters such as NCHW, CHW, HWC or HW, each once", formats);
  if (image.ndim !== letters.length)
    throw new ArgumentError(fn, `an image of ${letters.length} dimensions, as dataformats ${formats} has it`, image);
  if (image.isComplex()) throw new ArgumentError(fn, "an image of real numbers", image);
  const ordered = image.detach().permute([...order].map((letter) => letters.indexOf(letter)));
  if (order === "HW") return stack([ordered, ordered, ordered], 2);
  if (order === "HWC") return coloured(ordered, 2);
  return gridOf(fn, ordered, 8).permute([1, 2, 0]);
}

function coloured(image: Tensor, channel: number): Tensor {
  return image.shape[channel] === 1 ? cat([image, image, image], channel) : image;
}

/** `[N, C, H, W]` of one or three channels in rows of so many: `[3, H, W]`. */
export function gridOf(fn: string, images: Tensor, columns: number): Tensor {
  const all = coloured(images, 1);
  const [n = 0, c = 0, height = 0, width = 0] = all.shape;
  if (n === 0 || c !== 3) throw new ArgumentError(fn, "images of one or three channels, at least one image", images);
  const across = Math.min(columns, n);
  const out = full([3, height * Math.ceil(n / across), width * across], 0, { dtype: all.dtype, device: all.device });
  for (let k = 0; k < n; k++)
    out
      .narrow(1, Math.floor(k / across) * height, height)
      .narrow(2, (k % across) * width, width)
      .copy_(all.select(0, k));
  return out;
}

/** Boxes in red, two pixels wide, as `[xmin, ymin, xmax, ymax]` of pixels. */
export function drawBoxes(picture: Pixels, boxes: Float64Array): Pixels {
  const data = Uint8Array.from(picture.data);
  const { height, width, channels } = picture;
  const fill = (left: number, top: number, right: number, bottom: number): void => {
    for (let y = Math.max(0, top); y <= Math.min(height - 1, bottom); y++)
      for (let x = Math.max(0, left); x <= Math.min(width - 1, right); x++)
        for (let c = 0; c < channels; c++) data[(y * width + x) * channels + c] = c === 0 || c === 3 ? 255 : 0;
  };
  for (let i = 0; i + 3 < boxes.length; i += 4) {
    const [left, top, right, bottom] = [0, 1, 2, 3].map((k) => Math.round(boxes[i + k] as number)) as [
      number,
      number,
      number,
      number,
    ];
    fill(left, top, right, top + 1);
    fill(left, bottom - 1, right, bottom);
    fill(left, top, left + 1, bottom);
    fill(right - 1, top, right, bottom);
  }
  return { ...picture, data };
}

/** `[N, T, C, H, W]`: all N side by side, T frames, as a moving PNG. */
export function videoOf(fn: string, video: Tensor, fps: number): Message {
  if (video.ndim !== 5 || video.numel() === 0)
    throw new ArgumentError(fn, "vidTensor to be [N, T, C, H, W], and not empty", video);
  return scope(() => {
    const bytes = toBytes(video);
    const n = bytes.size(0);
    // As many rows as columns, or half as many; what is missing is black.
    const columns = 2 ** Math.ceil(Math.ceil(Math.log2(n)) / 2);
    const frames = bytes.unbind(1).map((frame) => pixels(fn, gridOf(fn, frame, columns).permute([1, 2, 0])));
    return imageProto(frames[0] as Pixels, animatedPng(frames, fps));
  });
}
