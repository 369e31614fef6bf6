/**
 * libtorch's complaints about operands of different dtypes, made readable: which operator, which dtypes, which line of
 * the program, and what to do.
 */
import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { TorchError } from "./errors.js";

/** A line of the program that uses nbit. */
export interface UserLine {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The line itself; null where the file cannot be read. */
  readonly text: string | null;
}

/** Two floating dtypes met in an operator that takes one. */
export class DTypeMismatchError extends TorchError {
  readonly dtypes: readonly string[];
  /** Where the program called the operator. */
  readonly at: UserLine | null;
  constructor(message: string, op: string | null, dtypes: readonly string[], at: UserLine | null) {
    super(message, "TORCH_DTYPE_MISMATCH", op);
    this.dtypes = dtypes;
    this.at = at;
  }
}

/**
 * What libtorch says of operands whose dtypes differ. Which of these a call meets depends on the processor too: where
 * oneDNN computes in float16 or bfloat16, it takes the call, and complains in words of its own.
 */
const PATTERNS: readonly RegExp[] = [
  /same (?:d|scalar |data )?types?\b|scalar types .* are same|types? must be the same|dtypes? .* to match|dtypes match/,
  /expected scalar type|expected object of scalar type|expected dtype \S+ for|found dtype \w+ but expected/,
  /expected self\.dtype to be equal|expected self\.scalar_type\(\) ==|expected both inputs to be [\w, ]+ tensors/,
  /mixed dtype|different dtypes|mismatch(?:ed)?(?: in)? dtype|type promoting not supported/,
  /dtype \S+ does not match \w+ dtype|\b(?:Half|BFloat16|Float|Double) did not match \w+/,
  // Convolutions; with oneDNN: "… or input should be a MKLDNN tensor and weight is a dense tensor".
  /\btype \([^)]+\) and (?:weight|bias) type \([^)]+\) should be the same/,
  // Attention: a mask of another floating dtype than the query's.
  /dtype to be bool or float or to match/,
  // oneDNN's, of primitives without kernels for this combination, or for one of these dtypes.
  /could not create a primitive|get_mkldnn_dtype: unsupported data type/,
].map((pattern) => new RegExp(pattern, "i"));

/** libtorch's spellings: C++ types and ScalarType names. */
const NAMES: Readonly<Record<string, string>> = {
  float: "float32",
  Float: "float32",
  double: "float64",
  Double: "float64",
  Half: "float16",
  BFloat16: "bfloat16",
};

/** Whether libtorch's message is about operands of different dtypes. */
export function isDtypeMismatch(message: string): boolean {
  return PATTERNS.some((pattern) => pattern.test(message));
}

export function dtypesIn(message: string): string[] {
  return [
    ...new Set(
      [...message.matchAll(/\b(?:c10::|CPU|CUDA)?(float|Float|double|Double|Half|BFloat16)(?:Type|Tensor)?\b/g)].map(
        (m) => NAMES[m[1] ?? ""] ?? "",
      ),
    ),
  ];
}

// Frames inside nbit, in a checkout and where it is installed. Its own tests are programs that use it.
const OURS =
  /(?:node_modules\/@nbit|packages)\/(?:native|torch|apex|lowbit|lightning|dashboard|cli)\/(?!.*\.test\.[jt]s)/;

/** Whether frame number `at` of a stack (1: the function that made it) is the program's, not nbit's. */
export function calledByProgram(stack: string | undefined, at: number): boolean {
  const frame = (stack ?? "").split("\n")[at];
  return frame !== undefined && !OURS.test(frame) && !frame.includes("node:");
}

/** The innermost line of a stack that is not nbit's, in the source that it was compiled from where there is a map. */
export function userLine(stack: string | undefined): UserLine | null {
  for (const [line] of eachProgramLine(stack)) return line;
  return null;
}

/** @internal All lines of a stack that are the program's, the innermost first, with the names of their functions. */
export function programLines(stack: string | undefined): readonly (UserLine & { readonly name: string })[] {
  return Array.from(eachProgramLine(stack), ([line, name]) => ({ ...line, name }));
}

function* eachProgramLine(stack: string | undefined): IterableIterator<readonly [UserLine, string]> {
  for (const frame of (stack ?? "").split("\n").slice(1)) {
    const match = /(?:\(|at (?:async )?)((?:file:\/\/)?[^()\s]*):(\d+):(\d+)\)?$/.exec(frame.trim());
    const path = match?.[1];
    if (path === undefined || path.startsWith("node:") || path === "" || OURS.test(path)) continue;
    const name = /^at (?:async )?(.+?) \(/.exec(frame.trim())?.[1] ?? "(anonymous)";
    const file = path.startsWith("file:") ? fileURLToPath(path) : path;
    yield [sourceOf(file, Number(match?.[2]), Number(match?.[3])), name];
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function sourceOf(path: string, line: number, column: number): UserLine {
  const code = read(path);
  const own = { file: path, line, column, text: code?.split("\n")[line - 1]?.trim() ?? null };
  const url = /\n\/\/# sourceMappingURL=([^\s]+)\s*$/.exec(code ?? "")?.[1];
  if (url === undefined || url.startsWith("data:")) return own;
  const text = read(resolve(dirname(path), url));
  if (text === null) return own;
  try {
    const entry = new SourceMap(JSON.parse(text) as ConstructorParameters<typeof SourceMap>[0]).findEntry(
      line - 1,
      column - 1,
    );
    if (!("originalSource" in entry)) return own;
    const original = entry.originalSource.startsWith("file:")
      ? fileURLToPath(entry.originalSource)
      : resolve(dirname(path), entry.originalSource);
    return {
      file: original,
      line: entry.originalLine + 1,
      column: entry.originalColumn + 1,
      text: read(original)?.split("\n")[entry.originalLine]?.trim() ?? null,
    };
  } catch {
    return own;
  }
}

/** What a message says of a line: path from the working directory, and the line itself. */
export function describeLine(at: UserLine | null): string {
  if (at === null) return "";
  const near = relative(process.cwd(), at.file);
  const text = at.text === null ? "" : `: ${at.text.length > 120 ? `${at.text.slice(0, 117)}…` : at.text}`;
  return ` At ${near.startsWith("..") ? at.file : near}:${at.line}:${at.column}${text}`;
}

/**
 * Which dtypes met. A message may name dtypes that would do, too, or only one; and under autocast operands are not as
 * they were given.
 */
function differing(named: readonly string[], given: readonly string[]): readonly string[] {
  const met = named.filter((dtype) => given.includes(dtype));
  if (met.length > 1) return met;
  if (named.length > 1) return named;
  return given.length > 1 ? given : [...new Set([...named, ...given])];
}

/**
 * @internal What a failed call becomes: with dtypes, the line of the program and the fix where operands' dtypes differ;
 * itself otherwise. `operands` are those of the floating arguments.
 */
export function explainMismatch(
  error: unknown,
  operands: () => readonly string[],
  autocast: () => string | null,
): unknown {
  if (!(error instanceof TorchError) || error instanceof DTypeMismatchError || !isDtypeMismatch(error.message))
    return error;
  const dtypes = differing(dtypesIn(error.message), [...new Set(operands())]);
  if (dtypes.length < 2) return error;
  const operator = error.op?.replace(/^aten::/, "").replace(/\..*$/, "") ?? "an operator";
  const at = userLine(error.stack);
  const region = autocast();
  const fix =
    region !== null
      ? `Autocast has no rule for ${operator}, so it takes its inputs as they are: cast them to one dtype (x.float()), or give it a rule: amp.policy({ ${JSON.stringify(operator)}: "float32" }, () => …), or leave autocast: autocast({ enabled: false }, () => …).`
      : dtypes.includes("float64")
        ? `One of them is float64, as data from a Float64Array is: convert it (x.float()), or compute in float64 throughout (precision: 64).`
        : `One of them was cast by hand (.half(), .bfloat16(), .to(dtype)) or made under an autocast of its own: remove that cast and let the Trainer's precision do it, or cast back before this operator (x.to(${JSON.stringify(dtypes.includes("float32") ? "float32" : dtypes[0])})).`;
  const own = error.op === null ? error.message : error.message.slice(error.message.indexOf(": ") + 2);
  const made = new DTypeMismatchError(
    `expected operands of one dtype. Received: ${dtypes.join(" and ")}${region === null ? "" : `, in a region of ${region}`}.${describeLine(at)}\n${fix} (libtorch: ${own})`,
    error.op,
    dtypes,
    at,
  );
  if (error.stack !== undefined)
    made.stack = `${made.name}: ${made.message}\n${error.stack.slice(error.stack.indexOf("\n    at ") + 1)}`;
  return made;
}
