/** Reading and writing images: `io`. */
export {
  decodeImage,
  encodeJpeg,
  encodePng,
  ImageReadMode,
  readFile,
  readImage,
  writeFile,
  writeJpeg,
  writePng,
  type DecodeImageArguments,
  type JpegArguments,
  type PngArguments,
  type ReadImageArguments,
  type WriteJpegArguments,
  type WritePngArguments,
} from "./io.js";
export { decodeImage as decodeJpeg, decodeImage as decodePng } from "./io.js";
