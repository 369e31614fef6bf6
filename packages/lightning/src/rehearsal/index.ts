/** @nbit/lightning/rehearsal: for the command, not a public interface. */
export { AheadCompilation } from "./ahead-compilation.js";
export { rehearse, SILENT_FIT, type Rehearsal } from "./rehearse.js";
export { buildFromHyperparameters } from "../hyperparameters.js";
