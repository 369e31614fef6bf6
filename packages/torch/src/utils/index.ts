/** As in torch.utils: data sets and loaders, activation checkpointing, and files for TensorBoard. */
export * as data from "../data/index.js";
export * as checkpoint from "./checkpoint.js";
export * as tensorboard from "./tensorboard/index.js";
