/** Elementwise nonlinearities without parameters. With `inplace` they write over their input. */
import * as ops from "../ops/index.js";
import { atMost } from "../options.js";
import { signature, type Call } from "../signature.js";
import type { Tensor } from "../tensor/tensor.js";
import { off } from "./functional/rows.js";
import { inPlace } from "./in-place.js";
import { requireTensor } from "./inputs.js";
import { Module } from "./module.js";
import { withInplace } from "./repr.js";

export interface InplaceOptions {
  /** Write over the input. Default false. */
  readonly inplace?: boolean;
}
export type InplaceCall = Call<InplaceOptions, ["inplace"], [inplace?: boolean]>;
const readInplace = signature("ReLU", { inplace: off });

/** Nonlinearities with nothing to choose but where their result goes. */
abstract class Inplace extends Module {
  readonly inplace: boolean;
  constructor(...given: InplaceCall) {
    super();
    this.inplace = readInplace(given, new.target.name).inplace;
  }
  override extraRepr(): string {
    return withInplace("", this.inplace);
  }
}
const over = {
  relu: inPlace("relu_"),
  hardtanh: inPlace("hardtanh_"),
  selu: inPlace("selu_"),
  silu: inPlace("silu_"),
  mish: inPlace("mish_"),
  hardswish: inPlace("hardswish_"),
  hardsigmoid: inPlace("hardsigmoid_"),
};

/** max(x, 0) */
export class ReLU extends Inplace {
  forward(x: Tensor): Tensor {
    atMost("ReLU.forward", arguments, 1);
    return this.inplace ? over.relu(x) : ops.relu(x);
  }
}
/** min(max(x, 0), 6) */
export class ReLU6 extends Inplace {
  forward(x: Tensor): Tensor {
    atMost("ReLU6.forward", arguments, 1);
    return this.inplace ? over.hardtanh(x, 0, 6) : ops.hardtanh(x, 0, 6);
  }
}
/** With α = 1.6733 and λ = 1.0507: λx where x > 0, else λα (eˣ - 1). Klambauer et al., 2017. */
export class SELU extends Inplace {
  forward(x: Tensor): Tensor {
    atMost("SELU.forward", arguments, 1);
    return this.inplace ? over.selu(x) : ops.selu(x);
  }
}
/** x σ(x) */
export class SiLU extends Inplace {
  forward(x: Tensor): Tensor {
    atMost("SiLU.forward", arguments, 1);
    return this.inplace ? over.silu(x) : ops.silu(x);
  }
}
/** x tanh(log(1 + eˣ)). Misra, 2019. */
export class Mish extends Inplace {
  forward(x: Tensor): Tensor {
    atMost("Mish.forward", arguments, 1);
    return this.inplace ? over.mish(x) : ops.mish(x);
  }
}
/** x · min(max(x + 3, 0), 6) / 6. Howard et al., 2019. */
export class Hardswish extends Inplace {
  forward(x: Tensor): Tensor {
    atMost("Hardswish.forward", arguments, 1);
    return this.inplace ? over.hardswish(x) : ops.hardswish(x);
  }
  override extraRepr(): string {
    return "";
  }
}
/** min(max(x + 3, 0), 6) / 6 */
export class Hardsigmoid extends Inplace {
  forward(x: Tensor): Tensor {
    atMost("Hardsigmoid.forward", arguments, 1);
    return this.inplace ? over.hardsigmoid(x) : ops.hardsigmoid(x);
  }
  override extraRepr(): string {
    return "";
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
/** log σ(x) */
export class LogSigmoid extends Module {
  forward(x: Tensor): Tensor {
    atMost("LogSigmoid.forward", arguments, 1);
    return ops.logSigmoid(x);
  }
}
/** x / (1 + |x|) */
export class Softsign extends Module {
  forward(x: Tensor): Tensor {
    atMost("Softsign.forward", arguments, 1);
    requireTensor("Softsign.forward", x);
    return x.div(x.abs().add(1));
  }
}
/** x - tanh(x) */
export class Tanhshrink extends Module {
  forward(x: Tensor): Tensor {
    atMost("Tanhshrink.forward", arguments, 1);
    requireTensor("Tanhshrink.forward", x);
    return x.sub(x.tanh());
  }
}
