import type { Checkpoint } from "./format.js";
import { inCamelCase } from "./lightning-names.js";

/** What a checkpoint has for a data module of this class; Lightning's files have it under the class's name. */
export function stateOfDatamodule(checkpoint: Checkpoint, className: string): Record<string, unknown> {
  const { datamodule } = checkpoint;
  if (datamodule?.name === "") return inCamelCase(checkpoint[className]);
  return datamodule?.name === className ? datamodule.state : {};
}
