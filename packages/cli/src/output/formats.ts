/** Kinds of files for predictions, by their endings. Loads no libtorch: a wrong one is said before anything runs. */
import { extname } from "node:path";
import { CommandError } from "../errors.js";

export const FORMATS = [".csv", ".jsonl", ".safetensors", ".parquet"] as const;
export type Format = (typeof FORMATS)[number];

/** @throws {CommandError} `ERR_OUTPUT`: a file of another kind. */
export function checkOutput(path: string): Format {
  const format = FORMATS.find((end) => end === extname(path));
  if (format === undefined)
    throw new CommandError(
      "ERR_OUTPUT",
      `nbit predict: expected --output to end in ${FORMATS.join(", ")}. Received: ${path}.`,
    );
  return format;
}
