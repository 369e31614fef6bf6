/** Every transform. */
export { ComposeTransform, identityTransform, IndependentTransform, Transform } from "./transform.js";
export {
  AbsTransform,
  AffineTransform,
  CorrCholeskyTransform,
  CumulativeDistributionTransform,
  ExpTransform,
  LowerCholeskyTransform,
  PositiveDefiniteTransform,
  PowerTransform,
  ReshapeTransform,
  SigmoidTransform,
  SoftmaxTransform,
  SoftplusTransform,
  StickBreakingTransform,
  TanhTransform,
} from "./transforms.js";
export { CatTransform, StackTransform } from "./joined-transforms.js";
