/** Elementwise nonlinearities and softmaxes: one family, many formulas. */
import * as ops from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import { ones_ } from "./init.js";
import { emptyParameter, type FactoryOptions } from "./linear.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";

/** max(x, 0) */
export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return ops.relu(x);
  }
}
/** min(max(x, 0), 6) */
export class ReLU6 extends Module {
  forward(x: Tensor): Tensor {
    return ops.hardtanh(x, 0, 6);
  }
}
/** x where x > 0, else slope · x */
export class LeakyReLU extends Module {
  constructor(readonly negativeSlope = 0.01) {
    super();
  }
  forward(x: Tensor): Tensor {
    return ops.leakyRelu(x, this.negativeSlope);
  }
}
/** LeakyReLU with a learned slope, one or one per channel. */
export class PReLU extends Module {
  readonly weight: Parameter;
  constructor(numParameters = 1, init = 0.25, options: FactoryOptions = {}) {
    super();
    this.weight = emptyParameter([numParameters], options);
    ones_(this.weight);
    this.weight.detach().mul_(init);
  }
  forward(x: Tensor): Tensor {
    return ops.prelu(x, this.weight);
  }
}
/** x where x > 0, else α (eˣ - 1) */
export class ELU extends Module {
  constructor(readonly alpha = 1) {
    super();
  }
  forward(x: Tensor): Tensor {
    return ops.elu(x, this.alpha);
  }
}
export class SELU extends Module {
  forward(x: Tensor): Tensor {
    return ops.selu(x);
  }
}
/** x Φ(x); `approximate: "tanh"` for the cheaper formula. Hendrycks and Gimpel, 2016. */
export class GELU extends Module {
  constructor(readonly approximate: "none" | "tanh" = "none") {
    super();
  }
  forward(x: Tensor): Tensor {
    return this.approximate === "none" ? ops.gelu(x) : ops.gelu(x, { approximate: this.approximate });
  }
  override extraRepr(): string {
    return `approximate='${this.approximate}'`;
  }
}
/** x σ(x) */
export class SiLU extends Module {
  forward(x: Tensor): Tensor {
    return ops.silu(x);
  }
}
export class Mish extends Module {
  forward(x: Tensor): Tensor {
    return ops.mish(x);
  }
}
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return ops.sigmoid(x);
  }
}
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return ops.tanh(x);
  }
}
export class Hardswish extends Module {
  forward(x: Tensor): Tensor {
    return ops.hardswish(x);
  }
}
export class Hardsigmoid extends Module {
  forward(x: Tensor): Tensor {
    return ops.hardsigmoid(x);
  }
}
export class Softplus extends Module {
  constructor(
    readonly beta = 1,
    readonly threshold = 20,
  ) {
    super();
  }
  forward(x: Tensor): Tensor {
    return ops.softplus(x, this.beta, this.threshold);
  }
}
/** Over one dimension, exponentials that sum to 1. */
export class Softmax extends Module {
  constructor(readonly dim: number) {
    super();
  }
  forward(x: Tensor): Tensor {
    return ops.softmax(x, this.dim);
  }
}
export class LogSoftmax extends Module {
  constructor(readonly dim: number) {
    super();
  }
  forward(x: Tensor): Tensor {
    return ops.logSoftmax(x, this.dim);
  }
}
