/** Initial values of parameters: the same calls in the same order as PyTorch, so that one seed gives one network. */
export * from "./initializers/fills.js";
export * from "./initializers/old-names.js";
export * from "./initializers/truncated.js";
export * from "./initializers/variance.js";
