/** Probability distributions, as in torch.distributions. */
import * as families from "./families.js";
import * as transforms from "./every-transform.js";
import * as constraints from "./constraints.js";
import { checkMethods } from "./checked-methods.js";
import "./kl-same.js";
import "./kl-cross.js";

for (const all of [families, transforms, constraints]) checkMethods(all);

export * from "./families.js";
export * from "./every-transform.js";
export { klDivergence, registerKl, type Divergence, type DistributionClass } from "./kl.js";
export { bijectTo, transformTo, type ConstraintOf, type ConstraintRegistry } from "./constraint-registry.js";
export { constraints };
export type { CacheCall, EnumerateCall, ExpandCall, ParameterLike, SampleCall, Shape } from "./arguments.js";
