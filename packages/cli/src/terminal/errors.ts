/** An error of a program that a command runs: the user's line first, then what it says, without frames of ours. */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, plainText } from "@nbit/torch/messages";
import { isError } from "@nbit/torch/realm";

/** Of ours, in a checkout and where it is installed; and of Node's. */
const OURS =
  /(?:node_modules\/(?:@nbit\/|nbit\/)|packages\/(?:native|torch|apex|lowbit|xla|vision|lightning|dashboard|cli)\/(?:src|dist|lib)\/)/;

interface Frame {
  readonly text: string;
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** @param everything - The whole stack: `--verbose`, or `NBIT_STACK=1`. */
export function errorText(error: unknown, everything: boolean): string {
  if (!isError(error)) return plainText(`nbit: the program threw ${describe(error)}`, "\n");
  const stack = error.stack ?? String(error);
  if (everything) return plainText([withCauses(stack, error), ...moreOf(error)].join("\n"), "\n");
  const frames = stack
    .split("\n")
    .flatMap(asFrame)
    .filter(({ file }) => !OURS.test(file) && !file.startsWith("node:"));
  const [first] = frames;
  // Which file asks for which, the message says; of others that are ours alone, all is needed.
  if (first === undefined)
    return plainText(
      [isMissingModule(error) ? headline(error) : withCauses(stack, error), ...moreOf(error)].join("\n"),
      "\n",
    );
  const hidden = stack.split("\n").filter((line) => /^\s+at /.test(line)).length - frames.length;
  return plainText(
    [
      ...excerpt(first),
      headline(error),
      ...frames.map(({ text }) => `    ${text}`),
      ...(hidden > 0 ? [`    (${hidden} more of nbit and Node.js: --verbose or NBIT_STACK=1)`] : []),
      ...causes(error).map((cause) => `Caused by ${headline(cause)}`),
      ...moreOf(error),
    ].join("\n"),
    "\n",
  );
}

/** What is written of an error whose stack says nothing more: its code, its message, and where it is explained. */
export function codeText(error: Error, message = error.message): string {
  const code = "code" in error ? String(error.code) : error.name;
  return plainText([`${code}: ${message}`, ...moreOf(error)].join("\n"), "\n");
}

/** The last line: the command that explains an error of ours. */
export function moreOf(error: unknown): string[] {
  return isError(error) && "help" in error && typeof error.help === "string" ? [`More: ${error.help}`] : [];
}

function headline(error: Error): string {
  const code = "code" in error && typeof error.code === "string" ? ` ${error.code}` : "";
  return `${error.name}${code}: ${error.message}`;
}

const isMissingModule = (error: Error): boolean =>
  "code" in error && ["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"].includes(String(error.code));

function asFrame(line: string): Frame[] {
  const match = /^\s*(at .*?)(?:\(|at (?:async )?)?((?:file:\/\/|node:|\/)[^()\s]*):(\d+):(\d+)\)?$/.exec(line);
  if (match === null) return [];
  const [, , url = "", row, column] = match;
  const file = url.startsWith("file:") ? fileURLToPath(url) : url;
  return [{ text: line.trim().replace(url, near(file)), file, line: Number(row), column: Number(column) }];
}

function near(file: string): string {
  const path = relative(process.cwd(), file);
  return path.startsWith("..") || path === "" ? file : path;
}

/** `train.ts:14:9`, the line, and a mark below its place. */
function excerpt({ file, line, column }: Frame): string[] {
  const at = `${near(file)}:${line}:${column}`;
  const text = lineOf(file, line);
  if (text === null || text.length > 200) return [at];
  const indent = text.length - text.trimStart().length;
  const mark = column - 1 >= indent ? [`  ${" ".repeat(column - 1 - indent)}^`] : [];
  return [at, `  ${text.trim()}`, ...mark];
}
function lineOf(file: string, line: number): string | null {
  try {
    return readFileSync(file, "utf8").split("\n")[line - 1] ?? null;
  } catch {
    return null;
  }
}

function causes(error: Error): Error[] {
  const found: Error[] = [];
  for (let cause = error.cause; isError(cause) && found.length < 8; cause = cause.cause) found.push(cause);
  return found;
}
function withCauses(stack: string, error: Error): string {
  return [stack, ...causes(error).map((cause) => `Caused by ${cause.stack ?? String(cause)}`)].join("\n");
}
