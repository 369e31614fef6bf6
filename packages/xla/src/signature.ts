import { dtypeOfStableHlo, type XlaDType } from "./dtypes.js";

/** An argument of a program's `main`, as its text declares it. */
export interface Argument {
  readonly dtype: XlaDType;
  readonly shape: readonly number[];
}

/**
 * The arguments of `@main` in StableHLO text; null where they cannot be read (a dynamic shape, a type that libtorch has
 * not). Plugins compare sizes alone, and would take an int32 for a float32.
 */
export function argumentsOf(text: string): readonly Argument[] | null {
  const start = /@main\s*\(/.exec(text);
  if (start === null) return null;
  const found: Argument[] = [];
  const from = start.index + start[0].length;
  for (const part of topLevel(text, from)) {
    if (part.trim() === "") continue;
    const match = /^\s*%[\w$.-]+\s*:\s*tensor<((?:\d+x)*)((?:complex<\w+>)|\w+)>/.exec(part);
    const dtype = match === null ? null : dtypeOfStableHlo(match[2] ?? "");
    if (match === null || dtype === null) return null;
    const shape = (match[1] ?? "")
      .split("x")
      .filter((size) => size !== "")
      .map(Number);
    found.push({ dtype, shape });
  }
  return found;
}

/** What stands between commas that are in no brackets and no string, up to the bracket that closes. */
function* topLevel(text: string, from: number): Generator<string> {
  let depth = 0;
  let begin = from;
  for (let at = from; at < text.length; at++) {
    const character = text[at] ?? "";
    if (character === '"') {
      at = endOfString(text, at);
    } else if ("([{<".includes(character)) depth++;
    else if (")]}>".includes(character)) {
      if (depth === 0) break;
      depth--;
    } else if (character === "," && depth === 0) {
      yield text.slice(begin, at);
      begin = at + 1;
    }
    if (depth === 0 && text[at + 1] === ")") {
      yield text.slice(begin, at + 1);
      return;
    }
  }
}
function endOfString(text: string, at: number): number {
  for (let end = at + 1; end < text.length; end++) {
    if (text[end] === "\\") end++;
    else if (text[end] === '"') return end;
  }
  return text.length;
}
