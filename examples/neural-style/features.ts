/**
 * What stands in for VGG16 in the perceptual loss: a small network of the same form whose weights are drawn, not
 * learned, so that the example needs no download. Random filters tell strokes and colours apart, if not objects: the
 * losses are those of the method, the pictures are not those of the paper.
 */
import { nn } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

export interface FeatureMaps {
  readonly relu12: Tensor;
  readonly relu22: Tensor;
  readonly relu33: Tensor;
}

export class Features extends nn.Module {
  slice1: nn.Sequential;
  slice2: nn.Sequential;
  slice3: nn.Sequential;

  constructor(width = 8) {
    super();
    this.slice1 = new nn.Sequential(...block(3, width), ...block(width, width));
    this.slice2 = new nn.Sequential(new nn.MaxPool2d(2), ...block(width, width * 2), ...block(width * 2, width * 2));
    this.slice3 = new nn.Sequential(
      new nn.MaxPool2d(2),
      ...block(width * 2, width * 4),
      ...block(width * 4, width * 4),
    );
    for (const parameter of this.parameters()) {
      if (parameter.dim() > 1) nn.init.kaimingNormal_(parameter);
      parameter.requiresGrad_(false);
    }
  }

  override forward(x: Tensor): FeatureMaps {
    const relu12 = this.slice1.call(x);
    const relu22 = this.slice2.call(relu12);
    const relu33 = this.slice3.call(relu22);
    return { relu12, relu22, relu33 };
  }
}

function block(inChannels: number, outChannels: number) {
  return [new nn.Conv2d(inChannels, outChannels, 3, { padding: 1 }), new nn.ReLU()];
}
