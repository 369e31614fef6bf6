/** What pixels are: brightness, contrast, colours, sharpness, and the levels of AutoAugment. */
import {
  kinds,
  checkArguments,
  atMost,
  ArgumentError,
  conv2d,
  einsum,
  arange,
  isTensor,
  linspace,
  ones,
  reflectionPad2d,
  scope,
  stack,
  tensor,
  where,
  zerosLike,
  type Tensor,
} from "@nbit/torch";
import { checkChannels, checkImage, convertImageDtype, floatOf, inFloats, maxValue, window } from "./image.js";

function checkFactor(fn: string, name: string, factor: number): void {
  if (typeof factor !== "number" || !(factor >= 0)) throw new ArgumentError(fn, `${name} to be ≥ 0`, factor);
}

/** `ratio` of the first and the rest of the second, in the range of its dtype. */
function blend(image: Tensor, other: Tensor, ratio: number): Tensor {
  const [a, b] = [image, other].map((t) => t.to(floatOf(t))) as [Tensor, Tensor];
  return a
    .mul(ratio)
    .add(b.mul(1 - ratio))
    .clamp(0, maxValue(image.dtype))
    .to(image.dtype);
}

/** Grey by 0.2989 R + 0.587 G + 0.114 B, in 1 or 3 equal channels; of one that is grey, itself. */
export function rgbToGrayscale(image: Tensor, numOutputChannels = 1): Tensor {
  atMost("rgbToGrayscale", arguments, 2);
  checkImage("rgbToGrayscale", image, 3);
  const channels = checkChannels("rgbToGrayscale", image);
  if (numOutputChannels !== 1 && numOutputChannels !== 3)
    throw new ArgumentError("rgbToGrayscale", "numOutputChannels to be 1 or 3", numOutputChannels);
  return scope(() => {
    const grey = channels === 3 ? greyOf(image) : image.clone();
    // As torchvision has it, an image that is grey already keeps its one channel.
    return numOutputChannels === 3 ? grey.expand(image.shape) : grey;
  });
}
function greyOf(image: Tensor): Tensor {
  const [r, g, b] = image.unbind(-3) as [Tensor, Tensor, Tensor];
  return r.mul(0.2989).add(g.mul(0.587)).add(b.mul(0.114)).to(image.dtype).unsqueeze(-3);
}
export const toGrayscale = rgbToGrayscale;

/** 0: black; 1: as it is; 2: twice as bright. */
export function adjustBrightness(image: Tensor, brightnessFactor: number): Tensor {
  atMost("adjustBrightness", arguments, 2);
  checkImage("adjustBrightness", image);
  checkFactor("adjustBrightness", "brightnessFactor", brightnessFactor);
  checkChannels("adjustBrightness", image);
  return scope(() => blend(image, zerosLike(image), brightnessFactor));
}
/** 0: the mean grey everywhere; 1: as it is. */
export function adjustContrast(image: Tensor, contrastFactor: number): Tensor {
  atMost("adjustContrast", arguments, 2);
  checkImage("adjustContrast", image);
  checkFactor("adjustContrast", "contrastFactor", contrastFactor);
  const channels = checkChannels("adjustContrast", image);
  return scope(() => {
    const grey = channels === 3 ? rgbToGrayscale(image) : image;
    return blend(image, grey.to(floatOf(image)).mean([-3, -2, -1], { keepdim: true }), contrastFactor);
  });
}
/** 0: grey; 1: as it is. */
export function adjustSaturation(image: Tensor, saturationFactor: number): Tensor {
  atMost("adjustSaturation", arguments, 2);
  checkImage("adjustSaturation", image);
  checkFactor("adjustSaturation", "saturationFactor", saturationFactor);
  if (checkChannels("adjustSaturation", image) === 1) return image;
  return scope(() => blend(image, rgbToGrayscale(image), saturationFactor));
}
/** Colours moved on the circle by `hueFactor` turns, from −0.5 to 0.5. */
export function adjustHue(image: Tensor, hueFactor: number): Tensor {
  atMost("adjustHue", arguments, 2);
  checkImage("adjustHue", image);
  if (!(hueFactor >= -0.5 && hueFactor <= 0.5))
    throw new ArgumentError("adjustHue", "hueFactor to be from -0.5 to 0.5", hueFactor);
  if (checkChannels("adjustHue", image) === 1) return image;
  return scope(() => {
    const [h, s, v] = toHsv(convertImageDtype(image, "float32"));
    return convertImageDtype(fromHsv(h.add(hueFactor).remainder(1), s, v), image.dtype);
  });
}
/** `gain · image ^ gamma`, in floats from 0 to 1. */
export function adjustGamma(image: Tensor, gamma: number, gain = 1): Tensor {
  atMost("adjustGamma", arguments, 3);
  checkImage("adjustGamma", image);
  checkFactor("adjustGamma", "gamma", gamma);
  checkChannels("adjustGamma", image);
  return scope(() => {
    const floats = image.isFloatingPoint() ? image : convertImageDtype(image, "float32");
    return convertImageDtype(floats.pow(gamma).mul(gain).clamp(0, 1), image.dtype);
  });
}

/** Hue, saturation and value of `[…, 3, H, W]`, from 0 to 1. Grey has hue and saturation 0. */
function toHsv(image: Tensor): [h: Tensor, s: Tensor, v: Tensor] {
  const [r, g, b] = image.unbind(-3) as [Tensor, Tensor, Tensor];
  const most = image.amax([-3]);
  const least = image.amin([-3]);
  const grey = most.eq(least);
  const range = most.sub(least);
  const one = ones(most.shape, { dtype: image.dtype, device: image.device });
  const s = range.div(where(grey, one, most));
  const divisor = where(grey, one, range);
  const [rc, gc, bc] = [r, g, b].map((c) => most.sub(c).div(divisor)) as [Tensor, Tensor, Tensor];
  const isR = most.eq(r);
  const isG = most.eq(g).logicalAnd(isR.logicalNot());
  const isB = most.ne(g).logicalAnd(isR.logicalNot());
  const sector = isR
    .mul(bc.sub(gc))
    .add(isG.mul(rc.add(2).sub(bc)))
    .add(isB.mul(gc.add(4).sub(rc)));
  return [sector.div(6).add(1).fmod(1), s, most];
}
function fromHsv(h: Tensor, s: Tensor, v: Tensor): Tensor {
  const six = h.mul(6);
  const whole = six.floor();
  const f = six.sub(whole);
  const p = v.mul(s.neg().add(1)).clamp(0, 1);
  const q = v.mul(s.mul(f).neg().add(1)).clamp(0, 1);
  const t = v.mul(s.mul(f.neg().add(1)).neg().add(1)).clamp(0, 1);
  const sector = whole.to("int32").remainder(6).unsqueeze(-3);
  const mask = sector.eq(arange(6, { device: h.device }).view([-1, 1, 1])).to(h.dtype);
  // What red, green and blue are in each of the six sectors of the circle.
  const channels = [
    [v, q, p, p, t, v],
    [t, v, v, q, p, p],
    [p, p, t, v, v, q],
  ].map((sectors) => stack(sectors, -3));
  return einsum("...ijk,...xijk->...xjk", [mask, stack(channels, -4)]);
}

/** White becomes black. */
export function invert(image: Tensor): Tensor {
  atMost("invert", arguments, 1);
  checkImage("invert", image, 3);
  checkChannels("invert", image);
  return image.neg().add(maxValue(image.dtype));
}
/** Only the first bits of each uint8. */
export function posterize(image: Tensor, bits: number): Tensor {
  atMost("posterize", arguments, 2);
  checkImage("posterize", image, 3);
  if (image.dtype !== "uint8") throw new ArgumentError("posterize", "an image of uint8", image);
  checkChannels("posterize", image);
  return image.bitwiseAnd((256 - 2 ** (8 - bits)) & 255);
}
/** What is at least `threshold` is inverted. */
export function solarize(image: Tensor, threshold: number): Tensor {
  atMost("solarize", arguments, 2);
  checkImage("solarize", image, 3);
  checkChannels("solarize", image);
  if (threshold > maxValue(image.dtype))
    throw new ArgumentError("solarize", `threshold to be at most ${maxValue(image.dtype)}`, threshold);
  return scope(() => where(image.ge(threshold), invert(image), image));
}
/** Each channel stretched over the whole range. */
export function autocontrast(image: Tensor): Tensor {
  atMost("autocontrast", arguments, 1);
  checkImage("autocontrast", image, 3);
  checkChannels("autocontrast", image);
  return scope(() => {
    const bound = maxValue(image.dtype);
    const least = image.amin([-2, -1], { keepdim: true }).to(floatOf(image));
    const most = image.amax([-2, -1], { keepdim: true }).to(floatOf(image));
    const range = most.sub(least);
    const scale = tensor(bound, { dtype: range.dtype, device: range.device }).div(range);
    const flat = scale.isfinite().logicalNot();
    return image
      .sub(where(flat, 0, least))
      .mul(where(flat, 1, scale))
      .clamp(0, bound)
      .to(image.dtype);
  });
}
/** Each channel's levels spread evenly. */
export function equalize(image: Tensor): Tensor {
  atMost("equalize", arguments, 1);
  checkImage("equalize", image, 3);
  if (image.dtype !== "uint8") throw new ArgumentError("equalize", "an image of uint8", image);
  checkChannels("equalize", image);
  return scope(() => {
    const planes = image.reshape([-1, image.size(-2), image.size(-1)]);
    return stack(planes.unbind(0).map(equalizePlane), 0).view(image.shape);
  });
}
function equalizePlane(plane: Tensor): Tensor {
  const levels = plane.reshape([-1]).bincount({ minlength: 256 }).tolist() as number[];
  const present = levels.filter((n) => n > 0);
  const step = Math.floor(present.slice(0, -1).reduce((a, b) => a + b, 0) / 255);
  if (step === 0) return plane;
  let sum = 0;
  const table = [0];
  for (const n of levels) table.push(Math.min(255, Math.floor(((sum += n) + Math.floor(step / 2)) / step)));
  const to = tensor(Uint8Array.from(table.slice(0, 256)), { device: plane.device });
  return to.indexSelect(0, plane.reshape([-1]).to("int64")).view(plane.shape);
}

/** 0: blurred; 1: as it is; 2: twice as sharp. */
export function adjustSharpness(image: Tensor, sharpnessFactor: number): Tensor {
  atMost("adjustSharpness", arguments, 2);
  checkImage("adjustSharpness", image);
  checkFactor("adjustSharpness", "sharpnessFactor", sharpnessFactor);
  checkChannels("adjustSharpness", image);
  if (image.size(-1) <= 2 || image.size(-2) <= 2) return image;
  return scope(() => {
    const dtype = floatOf(image);
    const channels = image.size(-3);
    const kernel = tensor([1, 1, 1, 1, 5, 1, 1, 1, 1], { dtype, device: image.device }).div(13).view([1, 1, 3, 3]);
    const inner = inFloats(image, [dtype], (batch) =>
      conv2d(batch, kernel.expand([channels, 1, 3, 3]), null, { groups: channels }),
    );
    const blurred = image.clone();
    window(blurred, 1, 1, image.size(-2) - 2, image.size(-1) - 2).copy_(inner);
    return blend(image, blurred, sharpnessFactor);
  });
}

const oneOrTwo = kinds.such<number | readonly [number, number]>(
  "a number, or [x, y]",
  (v) => typeof v === "number" || (Array.isArray(v) && v.length >= 1 && v.every((n) => typeof n === "number")),
);
const perChannel = kinds.such<readonly number[] | Tensor>(
  "numbers of channels, or a tensor of them",
  (v) => isTensor(v) || (Array.isArray(v) && v.every((n) => typeof n === "number")),
);

/** Means under a bell curve of `sigma` pixels. `[x, y]`; one number for both. */
export function gaussianBlur(
  image: Tensor,
  kernelSize: number | readonly [x: number, y: number],
  sigma: number | readonly [x: number, y: number] | null = null,
): Tensor {
  atMost("gaussianBlur", arguments, 3);
  checkImage("gaussianBlur", image);
  checkArguments("gaussianBlur", { kernelSize, sigma }, { kernelSize: oneOrTwo, sigma: kinds.orNull(oneOrTwo) });
  const size = typeof kernelSize === "number" ? [kernelSize, kernelSize] : kernelSize;
  const given = sigma ?? size.map((k) => k * 0.15 + 0.35);
  const widths = typeof given === "number" ? [given, given] : given;
  const [kx = 1, ky = 1] = size;
  const [sx = 1, sy = 1] = widths;
  if (size.some((k) => !Number.isSafeInteger(k) || k < 1 || k % 2 === 0))
    throw new ArgumentError("gaussianBlur", "kernelSize of odd whole numbers ≥ 1", kernelSize);
  if (!(sx > 0 && sy > 0)) throw new ArgumentError("gaussianBlur", "sigma > 0", sigma);
  return scope(() => {
    const dtype = floatOf(image);
    const { device } = image;
    const curve = (k: number, s: number): Tensor => {
      const half = (k - 1) * 0.5;
      const pdf = linspace(-half, half, k, { dtype, device }).div(s).pow(2).mul(-0.5).exp();
      return pdf.div(pdf.sum());
    };
    const kernel = curve(ky, sy).unsqueeze(1).mm(curve(kx, sx).unsqueeze(0));
    const channels = image.size(-3);
    const [x, y] = [(kx - 1) / 2, (ky - 1) / 2];
    return inFloats(image, [dtype], (batch) =>
      conv2d(reflectionPad2d(batch, [x, x, y, y]), kernel.expand([channels, 1, ky, kx]), null, { groups: channels }),
    );
  });
}

/** `(image − mean) / std`, channel by channel. */
export function normalize(
  image: Tensor,
  mean: readonly number[] | Tensor,
  std: readonly number[] | Tensor,
  inplace = false,
): Tensor {
  atMost("normalize", arguments, 4);
  checkImage("normalize", image, 3);
  checkArguments("normalize", { mean, std }, { mean: perChannel, std: perChannel });
  if (!image.isFloatingPoint())
    throw new ArgumentError(
      "normalize",
      "an image of floats",
      image,
      "Convert it first: new ToTensor(), or convertImageDtype.",
    );
  const { dtype, device } = image;
  const made = scope(() => {
    const each = (values: readonly number[] | Tensor): Tensor => {
      const t = isTensor(values) ? values.to(dtype) : tensor([...values], { dtype, device });
      return t.ndim === 1 ? t.view([-1, 1, 1]) : t;
    };
    const spread = each(std);
    if (Number(spread.eq(0).any().item()) !== 0)
      throw new ArgumentError("normalize", `std without zeros in ${dtype}`, isTensor(std) ? std : [...std]);
    if (!inplace) return image.sub(each(mean)).div_(spread);
    image.sub_(each(mean)).div_(spread);
    return null;
  });
  return made ?? image;
}

/** A rectangle overwritten with `v`, which has the shape of one or can be spread over one. */
export function erase(image: Tensor, i: number, j: number, h: number, w: number, v: Tensor, inplace = false): Tensor {
  atMost("erase", arguments, 7);
  checkImage("erase", image);
  const out = inplace ? image : image.clone();
  scope(() => {
    window(out, i, j, h, w).copy_(v.to(image.dtype));
  });
  return out;
}
