/** As in torch.utils: data sets and loaders, activation checkpointing, files for TensorBoard, times and FLOPs measured. */
export * as benchmark from "./benchmark/index.js";
export * as data from "../data/index.js";
export * as checkpoint from "./checkpoint.js";
export * as flopCounter from "./flop-counter/index.js";
export * as tensorboard from "./tensorboard/index.js";
