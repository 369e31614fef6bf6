/** nbit: the command, and command lines of programs of one's own. */
export { main } from "./main.js";
export { LightningCLI, type LightningCLIOptions, type Subcommand } from "./program/lightning-cli.js";
export { LightningArgumentParser, type ArgumentOptions, type ParserOptions } from "./program/argument-parser.js";
export { SaveConfigCallback, type SaveConfigOptions } from "./program/save-config.js";
export { instantiateClass } from "./classes/instantiate.js";
