/** @nbit/vision: transforms, data sets, reading and writing of images, on @nbit/torch. */
export * as transforms from "./transforms/index.js";
export * as datasets from "./datasets/index.js";
export * as io from "./io/index.js";
export * as utils from "./utils/index.js";
export { VisionError } from "./errors.js";
