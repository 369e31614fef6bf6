/** Transforms of whole batches and their labels: MixUp and CutMix. */
import {
  atMost,
  ArgumentError,
  aten,
  kinds,
  oneHot,
  scope,
  signature,
  tensor,
  type Call,
  type OptionNames,
  type Tensor,
} from "@nbit/torch";
import { checkImage, window } from "./functional/image.js";
import { integer, Transform } from "./transform.js";

export type Batch = readonly [images: Tensor, labels: Tensor];
export interface MixArguments {
  /** Of the Beta distribution that the share is drawn from. Default 1: all shares alike. */
  readonly alpha?: number;
  /** For labels that are class indices. */
  readonly numClasses?: number | null;
}
const read = signature(
  "MixUp",
  {
    alpha: kinds.byDefault(1, kinds.real("(0, ∞)")),
    numClasses: kinds.byDefault(null, kinds.orNull(kinds.whole("[1, ∞)"))),
  } satisfies OptionNames<MixArguments>,
  0,
);
type MixCall = Call<MixArguments, [], []>;

abstract class Mix extends Transform<Batch, [images: Tensor, labels: Tensor]> {
  readonly alpha: number;
  readonly numClasses: number | null;
  constructor(...given: MixCall) {
    super();
    const a = read(given, new.target.name);
    this.alpha = a.alpha;
    this.numClasses = a.numClasses;
  }

  /**
   * Each image of a batch `[N, C, H, W]` mixed with the one before it, and the labels, `[N]` or `[N, classes]`, as
   * probabilities `[N, classes]`.
   */
  override call(batch: Batch): [images: Tensor, labels: Tensor];
  override call(images: Tensor, labels: Tensor): [images: Tensor, labels: Tensor];
  override call(...given: readonly [Batch] | readonly [Tensor, Tensor]): [images: Tensor, labels: Tensor] {
    return this.forward(given.length === 1 ? given[0] : given);
  }
  forward([images, labels]: Batch): [images: Tensor, labels: Tensor] {
    atMost(`${this.constructor.name}.forward`, arguments, 1);
    const fn = this.constructor.name;
    checkImage(fn, images, 4);
    if (labels.ndim !== 1 && labels.ndim !== 2)
      throw new ArgumentError(fn, "labels of shape [N], or [N, classes]", labels.shape);
    if (images.ndim !== 4 || images.size(0) !== labels.size(0))
      throw new ArgumentError(fn, `images of shape [${labels.size(0)}, C, H, W]`, images.shape);
    if (labels.ndim === 1 && this.numClasses === null)
      throw new ArgumentError(fn, "numClasses for labels that are class indices", null);
    if (labels.ndim === 2 && this.numClasses !== null && labels.size(1) !== this.numClasses)
      throw new ArgumentError(fn, `labels of ${this.numClasses} classes`, labels.shape);
    return scope(() => {
      const share = (aten["_sample_dirichlet"]?.(tensor([[this.alpha, this.alpha]])) as Tensor)
        .narrow(1, 0, 1)
        .item() as number;
      const [mixed, kept] = this.mix(images, share);
      return [mixed, this.#labels(labels, kept)];
    });
  }
  /** The images, and the share of its own that each keeps. */
  protected abstract mix(images: Tensor, share: number): [images: Tensor, kept: number];

  #labels(labels: Tensor, share: number): Tensor {
    const each = labels.ndim === 1 ? oneHot(labels, this.numClasses ?? -1) : labels;
    return between(each.isFloatingPoint() ? each : each.float(), share);
  }
}
const between = (x: Tensor, share: number): Tensor =>
  x
    .roll([1], [0])
    .mul_(1 - share)
    .add_(x.mul(share));

/** Images laid over each other. Zhang et al., 2017, arXiv:1710.09412. */
export class MixUp extends Mix {
  protected mix(images: Tensor, share: number): [Tensor, number] {
    return [between(images, share), share];
  }
}
/** A rectangle of the image before it in each image. Yun et al., 2019, arXiv:1905.04899. */
export class CutMix extends Mix {
  protected mix(images: Tensor, share: number): [Tensor, number] {
    const [h, w] = [images.size(-2), images.size(-1)];
    const x = integer(0, w);
    const y = integer(0, h);
    const half = 0.5 * Math.sqrt(1 - share);
    const [dx, dy] = [Math.trunc(half * w), Math.trunc(half * h)];
    const [x1, y1] = [Math.max(x - dx, 0), Math.max(y - dy, 0)];
    const [width, height] = [Math.min(x + dx, w) - x1, Math.min(y + dy, h) - y1];
    const out = images.clone();
    window(out, y1, x1, height, width).copy_(window(images.roll([1], [0]), y1, x1, height, width));
    return [out, 1 - (width * height) / (w * h)];
  }
}
