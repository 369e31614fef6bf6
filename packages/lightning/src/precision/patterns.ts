import { verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";

/** A rule that matched a module. */
export interface Match<P> {
  readonly pattern: string;
  readonly precision: P;
}

/**
 * Which rule decides about each of `names`: the matching one with the most literal parts, then the one without `**`.
 * Names that no pattern matches are absent.
 *
 * @throws {MisconfigurationError} for a pattern that matches nothing (with names that exist), and for two that match
 * one module and are equally specific, unless they agree.
 */
export function matchRules<P>(names: readonly string[], rules: ReadonlyMap<string, P>): Map<string, Match<P>> {
  const found = new Map<string, Match<P> & { readonly rank: number }>();
  for (const [pattern, precision] of rules) {
    const expression = compile(pattern);
    const rank = rankOf(pattern);
    let any = false;
    for (const name of names) {
      if (name === "" || !expression.test(`${name}.`)) continue;
      any = true;
      const before = found.get(name);
      if (before !== undefined && before.rank === rank && before.precision !== precision) {
        throw new MisconfigurationError(
          "precisionFor",
          "one pattern that is the most specific for each module",
          verbatim(`${before.pattern} and ${pattern} for ${name}`),
          "Name the module itself.",
          "ERR_PRECISION_PATTERN",
        );
      }
      if (before === undefined || rank > before.rank) found.set(name, { pattern, precision, rank });
    }
    if (!any) {
      const known = names.filter((n) => n !== "");
      throw new MisconfigurationError(
        "precisionFor",
        `patterns that match modules (${known.slice(0, 12).join(", ")}${known.length > 12 ? ", …" : ""})`,
        pattern,
        "`*` stands for one part of a dotted name, `**` for any number.",
        "ERR_PRECISION_PATTERN",
      );
    }
  }
  return found;
}

function compile(pattern: string): RegExp {
  // Every part ends with a dot, the last too.
  const parts = pattern
    .split(".")
    .map((part) =>
      part === "**" ? "(?:[^.]+\\.)*" : `${part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&").replaceAll("*", "[^.]*")}\\.`,
    );
  return new RegExp(`^${parts.join("")}$`);
}

function rankOf(pattern: string): number {
  const parts = pattern.split(".");
  const literal = parts.filter((p) => !p.includes("*")).length;
  return (
    literal * 4 +
    (parts.includes("**") ? 0 : 2) +
    (parts.some((p) => p.includes("*") && p !== "*" && p !== "**") ? 1 : 0)
  );
}
