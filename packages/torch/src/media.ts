/** Tensors as files of pictures and sound: for packages that log them. */
export { pixelsOf } from "./utils/tensorboard/images.js";
export { png, sizeOfPng, type Pixels } from "./utils/tensorboard/png.js";
