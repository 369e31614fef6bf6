/** Many images in one. */
import { writeFileSync } from "node:fs";
import { extname } from "node:path";
import {
  ArgumentError,
  cat,
  full,
  isTensor,
  kinds,
  scope,
  signature,
  stack,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { encodeAs } from "../io/io.js";

export interface MakeGridArguments {
  /** `[N, C, H, W]`, one image, or a list of images of one size. Grey ones become coloured. */
  readonly tensor: Tensor | readonly Tensor[];
  /** Images in a row. Default 8. */
  readonly nrow?: number;
  /** Pixels between. Default 2. */
  readonly padding?: number;
  /** Bring values to 0 … 1, from `valueRange` or from what they are. Default false. */
  readonly normalize?: boolean;
  readonly valueRange?: readonly [low: number, high: number] | null;
  /** Each image by itself. Default false. */
  readonly scaleEach?: boolean;
  /** Default 0. */
  readonly padValue?: number;
}
const images = kinds.either<Tensor, readonly Tensor[]>(
  kinds.such("a tensor", isTensor),
  kinds.such("a list of tensors", (v) => Array.isArray(v) && v.length > 0 && v.every(isTensor)),
);
const GRID = {
  nrow: kinds.byDefault(8, kinds.whole("[1, ∞)")),
  padding: kinds.byDefault(2, kinds.whole("[0, ∞)")),
  normalize: kinds.byDefault(false, kinds.flag),
  valueRange: kinds.byDefault(
    null,
    kinds.orNull(
      kinds.such<readonly [number, number]>(
        "[low, high]",
        (v) => Array.isArray(v) && v.length === 2 && v.every((x) => typeof x === "number"),
      ),
    ),
  ),
  scaleEach: kinds.byDefault(false, kinds.flag),
  padValue: kinds.byDefault(0, kinds.real()),
} as const;
const readGrid = signature("makeGrid", { tensor: images, ...GRID } satisfies OptionNames<MakeGridArguments>);
type Rest = [
  nrow?: number,
  padding?: number,
  normalize?: boolean,
  valueRange?: readonly [low: number, high: number] | null,
  scaleEach?: boolean,
  padValue?: number,
];
type RestNames = ["nrow", "padding", "normalize", "valueRange", "scaleEach", "padValue"];

/** Images in rows: `[3, H, W]`. */
export function makeGrid(
  ...given: Call<MakeGridArguments, ["tensor", ...RestNames], [tensor: Tensor | readonly Tensor[], ...Rest]>
): Tensor {
  return scope(() => grid(readGrid(given)));
}

function grid(a: ReturnType<typeof readGrid>): Tensor {
  let all = isTensor(a.tensor) ? a.tensor : stack([...a.tensor], 0);
  if (all.ndim === 2) all = all.unsqueeze(0);
  if (all.ndim === 3) {
    if (all.size(0) === 1) all = cat([all, all, all], 0);
    all = all.unsqueeze(0);
  }
  if (all.ndim !== 4) throw new ArgumentError("makeGrid", "images of [N, C, H, W]", all.shape);
  if (all.size(1) === 1) all = cat([all, all, all], 1);
  if (a.normalize) {
    all = all.clone();
    for (const each of a.scaleEach ? all.unbind(0) : [all]) normalize(each, a.valueRange);
  }
  const [n = 1, channels = 3, h = 0, w = 0] = all.shape;
  if (n === 1) return all.squeeze(0);
  const columns = Math.min(a.nrow, n);
  const rows = Math.ceil(n / columns);
  const { padding } = a;
  const [height, width] = [h + padding, w + padding];
  const size = [channels, height * rows + padding, width * columns + padding];
  const out = full(size, a.padValue, { dtype: all.dtype, device: all.device });
  all.unbind(0).forEach((image, k) => {
    const [y, x] = [Math.floor(k / columns), k % columns];
    out
      .narrow(1, y * height + padding, h)
      .narrow(2, x * width + padding, w)
      .copy_(image);
  });
  return out;
}
function normalize(images: Tensor, given: readonly [number, number] | null): void {
  const [low, high] = given ?? [images.amin().item() as number, images.amax().item() as number];
  images
    .clamp_(low, high)
    .sub_(low)
    .div_(Math.max(high - low, 1e-5));
}

export interface SaveImageArguments extends MakeGridArguments {
  /** The file. */
  readonly fp: string;
  /** Default: by the file's extension. */
  readonly format?: string | null;
}
const readSave = signature(
  "saveImage",
  {
    tensor: images,
    fp: kinds.filled,
    format: kinds.byDefault(null, kinds.orNull(kinds.filled)),
    ...GRID,
  } satisfies OptionNames<SaveImageArguments>,
  3,
);
/** Write images of floats from 0 to 1, in a grid where there are several, to a file. */
export async function saveImage(
  ...given: Call<
    SaveImageArguments,
    ["tensor", "fp", "format"],
    [tensor: Tensor | readonly Tensor[], fp: string, format?: string | null]
  >
): Promise<void> {
  const a = readSave(given);
  const bytes = scope(() => grid(a).mul(255).add_(0.5).clamp_(0, 255).to("uint8"));
  try {
    const format = a.format ?? extname(a.fp).slice(1).toLowerCase();
    writeFileSync(a.fp, await encodeAs("saveImage", bytes, format === "jpg" ? "jpeg" : format));
  } finally {
    bytes.dispose();
  }
}
