/** Help on what a file declares: arguments of its model and of its data. Loads the file. */
import { declaredBy } from "../classes/declared.js";
import { resolveClass } from "../classes/resolve.js";
import type { Flag, FlagGroup } from "../command.js";
import type { Values } from "../settings/fill.js";
import type { Settings } from "../settings/settle.js";
import type { Program } from "./program.js";
import { isPlain } from "@nbit/torch/realm";

export async function declaredGroups(command: string, program: Program, { parts }: Settings): Promise<FlagGroup[]> {
  const groups: FlagGroup[] = [];
  for (const kind of ["model", "data"] as const) {
    const { choice } = parts[kind];
    const target = choice === null ? program[kind] : await resolveClass(command, kind, choice, program.exports);
    if (typeof target !== "function") continue;
    const declared = declaredBy(target);
    const title = `Arguments of the ${kind}${target.name === "" ? "" : `, ${target.name}`}`;
    if (declared !== null) groups.push({ title, flags: new Map(rows(kind, declared)) });
  }
  return groups;
}

function rows(prefix: string, declared: Values): [string, Flag][] {
  return Object.entries(declared).flatMap(([name, value]): [string, Flag][] => {
    const full = `${prefix}.${name}`;
    if (isPlain(value) && Object.keys(value).length > 0) return rows(full, value);
    return [
      [
        full,
        {
          summary: kindOf(value),
          takes: ["text"],
          otherwise: typeof value === "string" ? value : JSON.stringify(value),
        },
      ],
    ];
  });
}
function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "a list, such as [1, 2]";
  switch (typeof value) {
    case "number":
      return "a number";
    case "boolean":
      return "true or false";
    case "string":
      return "text";
    default:
      return "anything";
  }
}
