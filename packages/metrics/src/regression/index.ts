export * from "./errors-of-predictions.js";
export * from "./explained.js";
export * from "./correlation.js";
