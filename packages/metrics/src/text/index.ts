export * from "./perplexity.js";
export { BLEUScore, CharErrorRate, WordErrorRate, type BLEUScoreArguments } from "./words.js";
