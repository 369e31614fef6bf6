/** Parametrizations that are there. */
export {
  orthogonal,
  spectralNorm,
  weightNorm,
  type NamedTensorArguments,
  type OrthogonalArguments,
  type SpectralNormArguments,
  type WeightNormArguments,
} from "./weights.js";
export type { OrthogonalMap } from "./orthogonal.js";
