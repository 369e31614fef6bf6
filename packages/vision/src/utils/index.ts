/** Looking at images: `utils`. */
export { makeGrid, saveImage, type MakeGridArguments, type SaveImageArguments } from "./grid.js";
