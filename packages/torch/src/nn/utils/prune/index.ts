/** Pruning of parameters: masks beside them that keep elements at zero. */
export {
  customFromMask,
  globalUnstructured,
  identity,
  isPruned,
  l1Unstructured,
  lnStructured,
  randomStructured,
  randomUnstructured,
  remove,
  type GlobalArguments,
  type Place,
  type PruneArguments,
  type PruningMethodClass,
  type ScoresOptions,
} from "./functions.js";
export { BasePruningMethod, PruningContainer, type PruningType } from "./method.js";
export {
  CustomFromMask,
  Identity,
  L1Unstructured,
  LnStructured,
  RandomStructured,
  RandomUnstructured,
  type AmountOptions,
  type LnStructuredOptions,
  type MaskOptions,
  type NormOrder,
  type StructuredOptions,
} from "./methods.js";
