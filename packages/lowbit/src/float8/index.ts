/** float8 training. */
export { FLOAT8_RECIPES, type Float8DType, type Float8Recipe, type Float8RecipeName } from "./recipes.js";
export { amaxOf, castFloat8, castReference, type Amax, type Float8Matrix, type Wanted } from "./cast.js";
export { emulated, float8Support, scaledMm, type Factor, type Float8Support } from "./matmul.js";
export { withFloat8Histories } from "./history.js";
export { Float8Linear, type Float8LinearOptions, type Float8Options } from "./linear.js";
export {
  FLOAT8_OPTIONS,
  convertToFloat8,
  ConversionReport,
  type ConvertedLayer,
  type ConvertToFloat8Options,
} from "./convert.js";
