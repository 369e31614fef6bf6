/** Elementwise nonlinearities and softmaxes: one family, many formulas. */
import { oneOf, real, whole } from "../kinds.js";
import { atMost, checkArguments, checkOptions } from "../options.js";
import * as ops from "../ops/index.js";
import type { Tensor } from "../tensor/tensor.js";
import { ones_ } from "./init.js";
import { positive } from "./kernels.js";
import { emptyParameter, FACTORY_NAMES, type FactoryOptions } from "./linear.js";
import { Module } from "./module.js";
import type { Parameter } from "./parameter.js";

/** max(x, 0) */
export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    atMost("ReLU.forward", arguments, 1);
    return ops.relu(x);
  }
}
/** min(max(x, 0), 6) */
export class ReLU6 extends Module {
  forward(x: Tensor): Tensor {
    atMost("ReLU6.forward", arguments, 1);
    return ops.hardtanh(x, 0, 6);
  }
}
/** x where x > 0, else slope · x */
export class LeakyReLU extends Module {
  constructor(readonly negativeSlope = 0.01) {
    super();
    atMost("LeakyReLU", arguments, 1);
    checkArguments("LeakyReLU", { negativeSlope }, { negativeSlope: real() });
  }
  forward(x: Tensor): Tensor {
    atMost("LeakyReLU.forward", arguments, 1);
    return ops.leakyRelu(x, this.negativeSlope);
  }
}
/** LeakyReLU with a learned slope, one or one per channel. */
export class PReLU extends Module {
  readonly weight: Parameter;
  constructor(numParameters = 1, init = 0.25, options: FactoryOptions = {}) {
    super();
    atMost("PReLU", arguments, 3);
    checkArguments("PReLU", { numParameters, init }, { numParameters: positive, init: real() });
    checkOptions("PReLU", options, FACTORY_NAMES);
    this.weight = emptyParameter([numParameters], options);
    ones_(this.weight);
    this.weight.detach().mul_(init);
  }
  forward(x: Tensor): Tensor {
    atMost("PReLU.forward", arguments, 1);
    return ops.prelu(x, this.weight);
  }
}
/** x where x > 0, else α (eˣ - 1) */
export class ELU extends Module {
  constructor(readonly alpha = 1) {
    super();
    atMost("ELU", arguments, 1);
    checkArguments("ELU", { alpha }, { alpha: real() });
  }
  forward(x: Tensor): Tensor {
    atMost("ELU.forward", arguments, 1);
    return ops.elu(x, this.alpha);
  }
}
export class SELU extends Module {
  forward(x: Tensor): Tensor {
    atMost("SELU.forward", arguments, 1);
    return ops.selu(x);
  }
}
/** x Φ(x); `approximate: "tanh"` for the cheaper formula. Hendrycks and Gimpel, 2016. */
export class GELU extends Module {
  constructor(readonly approximate: "none" | "tanh" = "none") {
    super();
    atMost("GELU", arguments, 1);
    checkArguments("GELU", { approximate }, { approximate: oneOf("none", "tanh") });
  }
  forward(x: Tensor): Tensor {
    atMost("GELU.forward", arguments, 1);
    return this.approximate === "none" ? ops.gelu(x) : ops.gelu(x, { approximate: this.approximate });
  }
  override extraRepr(): string {
    return `approximate='${this.approximate}'`;
  }
}
/** x σ(x) */
export class SiLU extends Module {
  forward(x: Tensor): Tensor {
    atMost("SiLU.forward", arguments, 1);
    return ops.silu(x);
  }
}
export class Mish extends Module {
  forward(x: Tensor): Tensor {
    atMost("Mish.forward", arguments, 1);
    return ops.mish(x);
  }
}
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    atMost("Sigmoid.forward", arguments, 1);
    return ops.sigmoid(x);
  }
}
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    atMost("Tanh.forward", arguments, 1);
    return ops.tanh(x);
  }
}
export class Hardswish extends Module {
  forward(x: Tensor): Tensor {
    atMost("Hardswish.forward", arguments, 1);
    return ops.hardswish(x);
  }
}
export class Hardsigmoid extends Module {
  forward(x: Tensor): Tensor {
    atMost("Hardsigmoid.forward", arguments, 1);
    return ops.hardsigmoid(x);
  }
}
export class Softplus extends Module {
  constructor(
    readonly beta = 1,
    readonly threshold = 20,
  ) {
    super();
    atMost("Softplus", arguments, 2);
    checkArguments("Softplus", { beta, threshold }, { beta: real(), threshold: real() });
  }
  forward(x: Tensor): Tensor {
    atMost("Softplus.forward", arguments, 1);
    return ops.softplus(x, this.beta, this.threshold);
  }
}
/** Over one dimension, exponentials that sum to 1. */
export class Softmax extends Module {
  constructor(readonly dim: number) {
    super();
    atMost("Softmax", arguments, 1);
    checkArguments("Softmax", { dim }, { dim: whole() });
  }
  forward(x: Tensor): Tensor {
    atMost("Softmax.forward", arguments, 1);
    return ops.softmax(x, this.dim);
  }
}
export class LogSoftmax extends Module {
  constructor(readonly dim: number) {
    super();
    atMost("LogSoftmax", arguments, 1);
    checkArguments("LogSoftmax", { dim }, { dim: whole() });
  }
  forward(x: Tensor): Tensor {
    atMost("LogSoftmax.forward", arguments, 1);
    return ops.logSoftmax(x, this.dim);
  }
}
