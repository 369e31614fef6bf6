/**
 * A model whose linear layers are wide enough for float8 to pay: four residual blocks of 4096 → 16384 → 4096 over 16384
 * rows.
 */
import { gelu, nn, type Tensor } from "@nbit/torch";

export const WIDE = { layers: 4, width: 4096, tokens: 16384 } as const;

class WideBlock extends nn.Module {
  readonly ln = new nn.LayerNorm(WIDE.width);
  readonly fc = new nn.Linear(WIDE.width, 4 * WIDE.width);
  readonly out = new nn.Linear(4 * WIDE.width, WIDE.width);
  forward(x: Tensor): Tensor {
    return x.add(this.out.forward(gelu(this.fc.forward(this.ln.forward(x)))));
  }
}
export class Wide extends nn.Module {
  readonly blocks = new nn.ModuleList(Array.from({ length: WIDE.layers }, () => new WideBlock()));
  forward(x: Tensor): Tensor {
    let h = x;
    for (const block of this.blocks) h = block.forward(h);
    return h;
  }
  loss(x: Tensor, y: Tensor): Tensor {
    return nn.functional.mseLoss(this.forward(x).float(), y.float());
  }
}
