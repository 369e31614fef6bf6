/** Tensors as files of pictures and sound, and files of pictures as tensors: for packages that log and read them. */
export { decodePicture } from "./tensor/pictures.js";
export { pixelsOf } from "./utils/tensorboard/images.js";
export { png, sizeOfPng, type Pixels } from "./utils/tensorboard/png.js";
