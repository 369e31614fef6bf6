/** Help of the table: all commands, or one with its flags in groups. */
import type { Command, Flag, FlagGroup, Flags } from "../command.js";
import { widthOf } from "./width.js";

/** Columns of a terminal; what is written elsewhere reads best at 120. */
export const columns = (): number => Math.max(40, Math.min(process.stdout.columns ?? 120, 120));

export function overview(commands: Iterable<Command>, width = columns()): string {
  const rows = [...commands].map(({ name, summary }) => [name, summary] as const);
  return [
    "Usage: nbit <command> [argument]…",
    "",
    ...table(rows, width),
    "",
    ...wrap("`nbit <command> --help` lists its flags. `nbit completion bash` completes them.", width),
  ].join("\n");
}

/** @param more - Groups that this very call has: arguments of a model, for example. */
export function helpText(command: Command, more: readonly FlagGroup[] = [], width = columns()): string {
  const groups = [...more, ...command.groups].filter(({ flags }) => flags.size > 0);
  return [
    `Usage: nbit ${command.name}${command.usage === "" ? "" : ` ${command.usage}`}`,
    "",
    ...paragraphs(command.about ?? `${command.summary[0]?.toUpperCase() ?? ""}${command.summary.slice(1)}.`, width),
    ...groups.flatMap(({ title, flags }) => ["", title, ...table(flagRows(flags), width)]),
    ...(command.notes === undefined ? [] : ["", ...paragraphs(command.notes, width)]),
  ].join("\n");
}

function flagRows(flags: Flags): (readonly [string, string])[] {
  return [...flags].map(([name, flag]) => [flagName(name, flag), flagSummary(flag)] as const);
}
export function flagName(name: string, { short, value }: Pick<Flag, "short" | "value">): string {
  return `${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`;
}
function flagSummary({ summary, values, otherwise }: Flag): string {
  return `${summary}${values === undefined ? "" : ` (${values})`}${otherwise === undefined ? "" : `; default: ${otherwise}`}`;
}

/** Two columns; on a narrow terminal the second stands below the first. */
export function table(rows: readonly (readonly [string, string])[], width: number, most = 28): string[] {
  const widest = Math.max(...rows.map(([name]) => widthOf(name)));
  const first = Math.min(widest, most);
  const below = width - first - 4 < 30;
  return rows.flatMap(([name, text]) => {
    if (below) return [`  ${name}`, ...wrap(text, width, 6)];
    const lines = wrap(text, width, first + 4);
    if (widthOf(name) > first) return [`  ${name}`, ...lines];
    return [`  ${name}${" ".repeat(first - widthOf(name) + 2)}${lines[0]?.trimStart() ?? ""}`, ...lines.slice(1)];
  });
}

function paragraphs(text: string, width: number): string[] {
  return text.split("\n").flatMap((line) => (/^\s/.test(line) || line === "" ? [line] : wrap(line, width)));
}

/** Lines of at most `width` columns, wide characters counted as two, with so many spaces before each. */
export function wrap(text: string, width: number, indent = 0): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && widthOf(longer) > width - indent) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  if (line !== "") lines.push(line);
  return lines.map((each) => " ".repeat(indent) + each);
}
