/** One value that a shell, a file or the environment gave, and where it stands. */
import { describe } from "@nbit/torch/messages";
import { CommandError } from "../errors.js";

export interface Given {
  /** `["trainer", "maxEpochs"]`, `["model", "lr"]`, `["seed"]`. */
  readonly path: readonly string[];
  readonly value: unknown;
  /** A text of which nobody has settled yet what it is. */
  readonly isText: boolean;
  /** What messages call it: `--model.lr`, `model.lr of run.yaml:3:5`, `NBIT_FIT__MODEL__LR`. */
  readonly from: string;
}

/** A choice of a class with arguments for it, as files and checkpoints write it. */
export interface ClassChoice {
  readonly classPath: string;
  readonly initArgs: Readonly<Record<string, unknown>>;
}

/** `nbit fit: expected --model.lr to be a number. Received: "abc".` */
export function refusal(command: string, { from, value }: Given, expected: string, fix = ""): CommandError {
  return new CommandError(
    "ERR_FLAG_VALUE",
    `nbit ${command}: expected ${from} to be ${expected}. Received: ${describe(value)}.${fix === "" ? "" : ` ${fix}`}`,
  );
}

/** `nbit fit: expected model.lr. Received: model.ls of run.yaml:3:5.` */
export function unknownName(
  command: string,
  given: Given,
  known: readonly string[],
  near: string | null,
): CommandError {
  const expected =
    near !== null ? near : known.length === 0 ? `nothing below ${given.path[0] ?? ""}` : `one of ${known.join(", ")}`;
  return new CommandError("ERR_FLAG", `nbit ${command}: expected ${expected}. Received: ${given.from}.`);
}
