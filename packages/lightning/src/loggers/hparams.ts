import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { quoted, writeText } from "@nbit/torch";
import { isPlain } from "@nbit/torch/realm";

/**
 * Write them to `hparams.yaml` in a folder; with a number in its name where others lie, of an earlier run.
 * @returns The file, to be written again when there are more.
 */
export function writeHparams(
  fn: string,
  folder: string,
  params: Readonly<Record<string, unknown>>,
  before: string | null,
): string {
  const content = hparamsYaml(params);
  const path = before ?? freeName(folder, content);
  writeText(fn, path, content);
  return path;
}

function freeName(folder: string, content: string): string {
  for (let n = 0; ; n++) {
    const path = join(folder, n === 0 ? "hparams.yaml" : `hparams-${n}.yaml`);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined || (stat.isFile() && readFileSync(path, "utf8") === content)) return path;
  }
}

/**
 * Hyper-parameters as YAML 1.2, which Lightning and every YAML reader load: block style for nesting, JSON for scalars.
 */
export function hparamsYaml(params: Readonly<Record<string, unknown>>): string {
  const lines = mapping(params, 0, new Set());
  return lines.length === 0 ? "{}\n" : `${lines.join("\n")}\n`;
}

function mapping(value: Readonly<Record<string, unknown>>, depth: number, open: Set<object>): string[] {
  return Object.entries(value).flatMap(([key, item]) => entry(`${yamlKey(key)}:`, item, depth, open));
}

function entry(label: string, value: unknown, depth: number, open: Set<object>): string[] {
  const indent = "  ".repeat(depth);
  if (typeof value !== "object" || value === null || !isContainer(value)) return [`${indent}${label} ${scalar(value)}`];
  if (open.has(value)) return [`${indent}${label} "<circular>"`];
  open.add(value);
  const inner = Array.isArray(value)
    ? value.flatMap((item: unknown) => entry("-", item, depth + 1, open))
    : mapping(Object.fromEntries(Object.entries(value)), depth + 1, open);
  open.delete(value);
  if (inner.length === 0) return [`${indent}${label} ${Array.isArray(value) ? "[]" : "{}"}`];
  return [`${indent}${label}`, ...inner];
}

function isContainer(value: object): boolean {
  return Array.isArray(value) || isPlain(value);
}

function scalar(value: unknown): string {
  switch (typeof value) {
    case "number":
      if (Number.isNaN(value)) return ".nan";
      if (!Number.isFinite(value)) return value > 0 ? ".inf" : "-.inf";
      // YAML 1.1 readers take 1e-5 for a string; 1.0e-5 is a float to all.
      return String(value).replace(/^(-?\d+)e/, "$1.0e");
    case "bigint":
    case "boolean":
      return String(value);
    case "undefined":
      return "null";
    case "string":
      return quoted(value);
    default:
      return value === null ? "null" : quoted(describe(value));
  }
}

function describe(value: unknown): string {
  if (typeof value === "function") return `function ${value.name || "(anonymous)"}`;
  return String(value);
}

/** Plain where that is safe; words that YAML reads as something else are quoted. */
function yamlKey(key: string): string {
  return /^[A-Za-z_][\w.-]*$/.test(key) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(key) ? key : quoted(key);
}

/**
 * Nested ones under names with "/" between, and every value as a number, a string, true or false: what servers and
 * tables take. Null and undefined become "null".
 */
export function flatHparams(params: Readonly<Record<string, unknown>>): Record<string, number | string | boolean> {
  const flat: Record<string, number | string | boolean> = {};
  const visit = (value: unknown, name: string, open: readonly object[]): void => {
    if (typeof value === "number" || typeof value === "boolean" || typeof value === "string") flat[name] = value;
    else if (isPlain(value) && !open.includes(value))
      for (const [key, item] of Object.entries(value))
        visit(item, name === "" ? key : `${name}/${key}`, [...open, value]);
    else flat[name] = textOf(value);
  };
  visit(params, "", []);
  return flat;
}

function textOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return typeof value === "function" ? describe(value) : String(value);
  try {
    return Array.isArray(value) ? JSON.stringify(value) : isPlain(value) ? "<circular>" : String(value);
  } catch {
    return "<circular>";
  }
}
