/** As in torch.utils: data sets and loaders, and activation checkpointing. The same names stand at the top level. */
export * as data from "../data/index.js";
export * as checkpoint from "./checkpoint.js";
