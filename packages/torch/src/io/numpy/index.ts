/** Files of NumPy's, under its own names: `import { numpy as np } from "@nbit/torch"`. */
export { load, type NumpyLoadArguments } from "./load.js";
export { save, savez, savezCompressed, type NumpyArrays } from "./save.js";
