/** `nn.utils`: what is done to modules, parameters and batches from outside. */
export * as rnn from "./rnn.js";
