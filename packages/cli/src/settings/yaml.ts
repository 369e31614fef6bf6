/** Settings of a YAML file, each with its line and column. The `yaml` package reads it, by YAML 1.2. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { isMap, isScalar, isSeq, LineCounter, parse, parseDocument, type Node, type Pair } from "yaml";
import { quoted } from "@nbit/torch/messages";
import { isError } from "@nbit/torch/realm";
import { CommandError } from "../errors.js";
import type { ClassChoice, Given } from "./given.js";

/** Below these, names are a program's own, however deep; elsewhere a map is one value. */
const OPEN = new Set(["trainer", "model", "data", "optimizer", "lrScheduler"]);

/** Commands whose settings a file may have under their names. */
const COMMANDS = ["fit", "validate", "test", "predict", "tune", "explain"];
/** What looks at a fit goes by its settings. */
const ALSO: Readonly<Record<string, readonly string[]>> = { tune: ["fit", "tune"], explain: ["fit", "explain"] };

export interface ConfigPlace {
  /** Names of a program's own sections. */
  readonly sections?: readonly string[];
  /** The section that the whole file is: `--model model.yaml`. */
  readonly section?: string;
  /** Told of each section that a file of its own has. */
  readonly onFile?: (section: string, file: string) => void;
}

export const isConfigFile = (value: unknown): value is string => typeof value === "string" && /\.ya?ml$/i.test(value);

/**
 * Settings of a file, those of this very command (`fit: …`) behind the others; of a section that names a file
 * (`model: model.yaml`, beside the first) what that one has.
 *
 * @throws {CommandError} `ERR_CONFIG_FILE`: there is none, or it is no YAML: `nbit fit: expected run.yaml to be YAML.
 * Received: run.yaml:3:5: Map keys must be unique.`
 */
export function readConfig(command: string, file: string, place: ConfigPlace = {}): Given[] {
  return readFile(command, file, place, []);
}

function readFile(
  command: string,
  file: string,
  { sections = [], section, onFile }: ConfigPlace,
  outer: readonly string[],
): Given[] {
  const open = new Set([...OPEN, ...sections]);
  const lines = new LineCounter();
  const document = parseDocument(text(command, file), { lineCounter: lines, prettyErrors: false, merge: true });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const wrong = (where: string, what: string): CommandError =>
    new CommandError("ERR_CONFIG_FILE", `nbit ${command}: expected ${file} to be YAML. Received: ${where}: ${what}`);
  const [error] = document.errors;
  if (error !== undefined) throw wrong(at(error.pos[0]), error.message);
  const root: unknown = document.contents;
  if (root === null || (isScalar(root) && root.value === null)) return [];
  if (!isMap(root)) throw wrong(`${file}:1:1`, "no map of names such as trainer and model");
  const settings: Given[] = [];
  const visit = (node: unknown, path: readonly string[], offset: number): void => {
    const from = `${path.join(".")} of ${at(offset)}`;
    const [first = ""] = path;
    if (path.length === 1 && open.has(first) && isScalar(node) && isConfigFile(node.value)) {
      const inside = resolve(dirname(file), node.value);
      if (inside === resolve(file) || outer.includes(inside))
        throw wrong(at(offset), `${node.value}, which names itself`);
      onFile?.(first, inside);
      settings.push(...readFile(command, inside, { sections, section: first }, [...outer, resolve(file)]));
      return;
    }
    const inner = isMap(node) && (path.length === 0 || open.has(first)) ? node : null;
    if (inner === null) {
      settings.push({ path, value: plain(node, document), isText: false, from });
      return;
    }
    const pairs = inner.items as readonly Pair<unknown, Node | null>[];
    const named = (name: string): Pair<unknown, Node | null> | undefined =>
      pairs.find(({ key }) => nameOf(key) === name);
    const chosen = path.length > 0 ? named("classPath") : undefined;
    if (chosen !== undefined)
      settings.push({ path, value: plain(chosen.value, document), isText: false, from: `classPath of ${from}` });
    for (const { key, value } of pairs) {
      const name = nameOf(key);
      if (name === null) throw wrong(at(offsetOf(key)), "a name that is no text");
      if (chosen !== undefined && name === "classPath") continue;
      if (chosen !== undefined && name !== "initArgs")
        throw wrong(at(offsetOf(key)), `${quoted(name)} beside classPath; its arguments stand in initArgs`);
      if (path.length === 0 && isScalar(value) && value.value === null && open.has(name)) continue; // `model:` alone
      visit(value, chosen === undefined ? [...path, name] : path, offsetOf(key));
    }
  };
  if (section !== undefined) {
    visit(root, [section], 0);
    return settings;
  }
  const ofCommands = root.items.filter(({ key }) => isOfCommand(nameOf(key), sections));
  root.items = root.items.filter((pair) => !ofCommands.includes(pair));
  visit(root, [], 0);
  for (const name of ALSO[command] ?? [command])
    for (const { key, value } of ofCommands) {
      if (nameOf(key) !== name) continue;
      if (isMap(value)) visit(value, [], offsetOf(key));
      else if (!(isScalar(value) && value.value === null))
        throw wrong(at(offsetOf(key)), `${name}, which is no map of names such as trainer and model`);
    }
  return settings.filter(({ path }) => path.length > 0);
}

const isOfCommand = (name: string | null, sections: readonly string[]): boolean =>
  name !== null && COMMANDS.includes(name) && !sections.includes(name);

const nameOf = (key: unknown): string | null => (isScalar(key) && typeof key.value === "string" ? key.value : null);
const offsetOf = (node: unknown): number =>
  typeof node === "object" && node !== null && "range" in node && Array.isArray(node.range) ? Number(node.range[0]) : 0;

function plain(node: unknown, document: { readonly schema: unknown }): unknown {
  if (isMap(node) || isSeq(node) || isScalar(node)) return node.toJS(document as never);
  return node ?? null;
}

function text(command: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const code = isError(error) && "code" in error ? String(error.code) : "";
    throw new CommandError(
      "ERR_CONFIG_FILE",
      `nbit ${command}: expected --config to be a YAML file. Received: ${file}, which ${code === "ENOENT" ? "does not exist" : `cannot be read (${code})`}.`,
    );
  }
}

/** What a text of a shell says as YAML: a number, true, null, `[1, 2]`, or the text itself. */
export function asYaml(text: string): unknown {
  try {
    return parse(text, { schema: "core" }) as unknown;
  } catch {
    return text;
  }
}

/** @returns null: it is something else. */
export function asClassChoice(value: unknown): ClassChoice | null {
  if (typeof value === "string") return { classPath: value, initArgs: {} };
  if (typeof value !== "object" || value === null || !("classPath" in value) || typeof value.classPath !== "string")
    return null;
  const { classPath, initArgs = {}, ...others } = value as { classPath: string; initArgs?: unknown };
  if (Object.keys(others).length > 0 || typeof initArgs !== "object" || initArgs === null || Array.isArray(initArgs))
    return null;
  return { classPath, initArgs: { ...initArgs } };
}
