/** The optimizers by name. */
import { atMost, type optim } from "@nbit/torch";
import { LowBitOptimizer } from "./optimizer.js";
import type { LowBitOptions } from "./options.js";

/** Options of a class whose name says its bits. */
export type FixedBitsOptions = Omit<LowBitOptions, "optimBits">;

/** Adam; state in 8 bits, blockwise. */
export class Adam8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("Adam8bit", arguments, 2);
    super(params, "adam", "dynamic8", options);
  }
}

/** Adam; state in float32. */
export class Adam32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("Adam32bit", arguments, 2);
    super(params, "adam", null, options);
  }
}

/** Adam with decoupled weight decay (0.01 by default); state in 8 bits, blockwise. */
export class AdamW8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("AdamW8bit", arguments, 2);
    super(params, "adamw", "dynamic8", options, { weightDecay: 0.01 });
  }
}

/** Adam with decoupled weight decay (0.01 by default); state in float32. */
export class AdamW32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("AdamW32bit", arguments, 2);
    super(params, "adamw", null, options, { weightDecay: 0.01 });
  }
}

/** The sign of an interpolated momentum; state in 8 bits, blockwise. */
export class Lion8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("Lion8bit", arguments, 2);
    super(params, "lion", "dynamic8", options, { lr: 1e-4, betas: [0.9, 0.99] });
  }
}

/** The sign of an interpolated momentum; state in float32. */
export class Lion32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("Lion32bit", arguments, 2);
    super(params, "lion", null, options, { lr: 1e-4, betas: [0.9, 0.99] });
  }
}

/** Momentum; state in 8 bits, blockwise. */
export class SGD8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("SGD8bit", arguments, 2);
    super(params, "momentum", "dynamic8", options, { lr: 1e-2 });
  }
}

/** Momentum; state in float32. */
export class SGD32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("SGD32bit", arguments, 2);
    super(params, "momentum", null, options, { lr: 1e-2 });
  }
}

/** A running mean of squared gradients; state in 8 bits, blockwise. */
export class RMSprop8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("RMSprop8bit", arguments, 2);
    super(params, "rmsprop", "dynamic8", options, { lr: 1e-2, betas: [0.99, 0] });
  }
}

/** A running mean of squared gradients; state in float32. */
export class RMSprop32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("RMSprop32bit", arguments, 2);
    super(params, "rmsprop", null, options, { lr: 1e-2, betas: [0.99, 0] });
  }
}

/** The sum of squared gradients; state in 8 bits, blockwise. */
export class Adagrad8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("Adagrad8bit", arguments, 2);
    super(params, "adagrad", "dynamic8", options, { lr: 1e-2, eps: 1e-10 });
  }
}

/** The sum of squared gradients; state in float32. */
export class Adagrad32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("Adagrad32bit", arguments, 2);
    super(params, "adagrad", null, options, { lr: 1e-2, eps: 1e-10 });
  }
}

/** Layerwise trust ratios over Adam; state in 8 bits, blockwise. */
export class LAMB8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("LAMB8bit", arguments, 2);
    super(params, "lamb", "dynamic8", options, { eps: 1e-6 });
  }
}

/** Layerwise trust ratios over Adam; state in float32. */
export class LAMB32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("LAMB32bit", arguments, 2);
    super(params, "lamb", null, options, { eps: 1e-6 });
  }
}

/** Layerwise trust ratios over momentum; state in 8 bits, blockwise. */
export class LARS8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("LARS8bit", arguments, 2);
    super(params, "lars", "dynamic8", options, { lr: 1e-2 });
  }
}

/** Layerwise trust ratios over momentum; state in float32. */
export class LARS32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("LARS32bit", arguments, 2);
    super(params, "lars", null, options, { lr: 1e-2 });
  }
}

/** Adam with a second, slow average; state in 8 bits, blockwise. */
export class AdEMAMix8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("AdEMAMix8bit", arguments, 2);
    super(params, "ademamix", "dynamic8", options, { betas: [0.9, 0.999], weightDecay: 0.01 });
  }
}

/** Adam with a second, slow average; state in float32. */
export class AdEMAMix32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("AdEMAMix32bit", arguments, 2);
    super(params, "ademamix", null, options, { betas: [0.9, 0.999], weightDecay: 0.01 });
  }
}

/**
 * Adam with 4-bit moments, blocks of 128: the first by the dynamic map, the second by a linear one without zero. @see
 * Li, Chen and Zhu, 2023, arXiv:2309.01507.
 */
export class Adam4bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("Adam4bit", arguments, 2);
    super(params, "adam", "moments4", options);
  }
}
/** Adam with float8 e4m3 moments and a scale per block. */
export class AdamFp8 extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    atMost("AdamFp8", arguments, 2);
    super(params, "adam", "float8", options);
  }
}
