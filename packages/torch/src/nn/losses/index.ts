/** Losses as modules. */
export * from "./adaptive.js";
export * from "./binary.js";
export * from "./classes.js";
export * from "./differences.js";
export * from "./likelihoods.js";
export * from "./linear.js";
export * from "./rankings.js";
