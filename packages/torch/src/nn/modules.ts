/** `nn.modules`: where PyTorch has hooks of all modules. */
export * as module from "./global-module.js";
