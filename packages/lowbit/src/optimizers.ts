/** The optimizers by name. */
import type { optim } from "@nbit/torch";
import { LowBitOptimizer } from "./optimizer.js";
import type { LowBitOptions } from "./options.js";

/** Options of a class whose name says its bits. */
export type FixedBitsOptions = Omit<LowBitOptions, "optimBits">;

/** Adam; state in 8 bits, blockwise. */
export class Adam8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "adam", "dynamic8", options);
  }
}

/** Adam; state in float32. */
export class Adam32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "adam", null, options);
  }
}

/** Adam with decoupled weight decay (0.01 by default); state in 8 bits, blockwise. */
export class AdamW8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "adamw", "dynamic8", { weightDecay: 0.01, ...options });
  }
}

/** Adam with decoupled weight decay (0.01 by default); state in float32. */
export class AdamW32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "adamw", null, { weightDecay: 0.01, ...options });
  }
}

/** The sign of an interpolated momentum; state in 8 bits, blockwise. */
export class Lion8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "lion", "dynamic8", { lr: 1e-4, betas: [0.9, 0.99], ...options });
  }
}

/** The sign of an interpolated momentum; state in float32. */
export class Lion32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "lion", null, { lr: 1e-4, betas: [0.9, 0.99], ...options });
  }
}

/** Momentum; state in 8 bits, blockwise. */
export class SGD8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "momentum", "dynamic8", { lr: 1e-2, ...options });
  }
}

/** Momentum; state in float32. */
export class SGD32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "momentum", null, { lr: 1e-2, ...options });
  }
}

/** A running mean of squared gradients; state in 8 bits, blockwise. */
export class RMSprop8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "rmsprop", "dynamic8", { lr: 1e-2, betas: [0.99, 0], ...options });
  }
}

/** A running mean of squared gradients; state in float32. */
export class RMSprop32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "rmsprop", null, { lr: 1e-2, betas: [0.99, 0], ...options });
  }
}

/** The sum of squared gradients; state in 8 bits, blockwise. */
export class Adagrad8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "adagrad", "dynamic8", { lr: 1e-2, eps: 1e-10, ...options });
  }
}

/** The sum of squared gradients; state in float32. */
export class Adagrad32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "adagrad", null, { lr: 1e-2, eps: 1e-10, ...options });
  }
}

/** Layerwise trust ratios over Adam; state in 8 bits, blockwise. */
export class LAMB8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "lamb", "dynamic8", { eps: 1e-6, ...options });
  }
}

/** Layerwise trust ratios over Adam; state in float32. */
export class LAMB32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "lamb", null, { eps: 1e-6, ...options });
  }
}

/** Layerwise trust ratios over momentum; state in 8 bits, blockwise. */
export class LARS8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "lars", "dynamic8", { lr: 1e-2, ...options });
  }
}

/** Layerwise trust ratios over momentum; state in float32. */
export class LARS32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "lars", null, { lr: 1e-2, ...options });
  }
}

/** Adam with a second, slow average; state in 8 bits, blockwise. */
export class AdEMAMix8bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "ademamix", "dynamic8", { betas: [0.9, 0.999], weightDecay: 0.01, ...options });
  }
}

/** Adam with a second, slow average; state in float32. */
export class AdEMAMix32bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "ademamix", null, { betas: [0.9, 0.999], weightDecay: 0.01, ...options });
  }
}

/** Adam with 4-bit moments, blocks of 128: the first by the dynamic map, the second by a linear one without zero. @see Li, Chen and Zhu, 2023, arXiv:2309.01507. */
export class Adam4bit extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "adam", "moments4", options);
  }
}
/** Adam with float8 e4m3 moments and a scale per block. */
export class AdamFp8 extends LowBitOptimizer {
  constructor(params: optim.ParamsLike, options: FixedBitsOptions = {}) {
    super(params, "adam", "float8", options);
  }
}
