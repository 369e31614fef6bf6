/** From the text of a flag to its value. What a value may be, what takes it says: only its type is settled here. */
import type { FlagKind } from "@nbit/lightning/options";
import type { Flag, FlagValue } from "../command.js";
import { CommandError } from "../errors.js";

export const isNumber = (text: string): boolean => /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text);

/**
 * Whether a switch takes the argument behind it. It may stand before the file: only what it can be is its value.
 */
export function switchTakes({ takes }: Flag, next: string): boolean {
  return (
    next === "true" ||
    next === "false" ||
    (takes.includes("number") && isNumber(next)) ||
    (takes.includes("text") && !/[./\\]/.test(next)) ||
    (takes.includes("class") && (next.includes("#") || !/[./\\]/.test(next)))
  );
}

const KINDS: Readonly<Record<FlagKind, string>> = {
  text: "text",
  number: "a number",
  switch: "true or false",
  null: "null",
  class: "the name of a class",
};

/** @throws {CommandError} `ERR_FLAG_VALUE` for a value of another type. */
export function readValue(command: string, name: string, { takes }: Flag, text: string): FlagValue {
  for (const kind of takes) {
    if (kind === "null" && text === "null") return null;
    if (kind === "switch" && (text === "true" || text === "false")) return text === "true";
    if (kind === "number" && isNumber(text)) return Number(text);
  }
  if ((takes.includes("text") || takes.includes("class")) && text !== "") return text;
  throw new CommandError(
    "ERR_FLAG_VALUE",
    `nbit ${command}: expected ${name} to be ${takes.map((kind) => KINDS[kind]).join(", or ")}. Received: ${JSON.stringify(text)}.`,
  );
}
