/** As in torch.utils.flop_counter. */
export { FlopCounterMode, type FlopCounterOptions } from "./counter.js";
export { registerFlopFormula, type FlopArgument, type FlopFormula } from "./formulas.js";
