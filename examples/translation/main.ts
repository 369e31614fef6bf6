/**
 * Short sentences from French into English: an encoder, and a decoder with attention.
 *
 *     node examples/dist/translation/main.js [--precision 32|bf16|16] [--steps 240]
 */
import { runOptions } from "../shared/options.js";
import { train } from "./train.js";

train(runOptions());
