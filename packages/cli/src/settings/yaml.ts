/** Settings of a YAML file, each with its line and column. The `yaml` package reads it, by YAML 1.2. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import {
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parse,
  parseDocument,
  type Document,
  type Node,
  type YAMLMap,
} from "yaml";
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
  return new ConfigReader(command, file, place, []).read();
}

class ConfigReader {
  readonly #command: string;
  readonly #file: string;
  readonly #place: ConfigPlace;
  /** Files that name this one. */
  readonly #outer: readonly string[];
  /** Sections that have names of their own, however deep. */
  readonly #open: ReadonlySet<string>;
  readonly #lines = new LineCounter();
  readonly #settings: Given[] = [];

  constructor(command: string, file: string, place: ConfigPlace, outer: readonly string[]) {
    this.#command = command;
    this.#file = file;
    this.#place = place;
    this.#outer = outer;
    this.#open = new Set([...OPEN, ...(place.sections ?? [])]);
  }

  read(): Given[] {
    const source = text(this.#command, this.#file);
    const document = parseDocument(source, { lineCounter: this.#lines, prettyErrors: false, merge: true });
    const [error] = document.errors;
    if (error !== undefined) throw this.#wrong(error.pos[0], error.message);
    const root: unknown = document.contents;
    if (root === null || (isScalar(root) && root.value === null)) return [];
    if (!isMap(root)) throw this.#wrong(0, "no map of names such as trainer and model");
    const { section, sections = [] } = this.#place;
    if (section !== undefined) {
      this.#visit(root, [section], 0, document);
      return this.#settings;
    }
    const ofCommands = root.items.filter(({ key }) => isOfCommand(nameOf(key), sections));
    root.items = root.items.filter((pair) => !ofCommands.includes(pair));
    this.#visit(root, [], 0, document);
    for (const name of ALSO[this.#command] ?? [this.#command])
      for (const { key, value } of ofCommands) {
        if (nameOf(key) !== name) continue;
        if (isMap(value)) this.#visit(value, [], offsetOf(key), document);
        else if (!isNothing(value))
          throw this.#wrong(offsetOf(key), `${name}, which is no map of names such as trainer and model`);
      }
    return this.#settings;
  }

  #visit(node: unknown, path: readonly string[], offset: number, document: Document): void {
    const [first = ""] = path;
    const open = path.length === 0 || this.#open.has(first);
    if (path.length === 1 && open && isScalar(node) && isConfigFile(node.value))
      this.#inside(first, node.value, offset);
    else if (isMap(node) && open) this.#map(node as YAMLMap<unknown, Node | null>, path, offset, document);
    else
      this.#settings.push({
        path,
        value: plain(node, document),
        isText: false,
        from: `${path.join(".")} of ${this.#at(offset)}`,
      });
  }

  /** A section that a file of its own has, beside this one. */
  #inside(section: string, name: string, offset: number): void {
    const { sections = [], onFile } = this.#place;
    const [own, inside] = [resolve(this.#file), resolve(dirname(this.#file), name)];
    if (inside === own || this.#outer.includes(inside)) throw this.#wrong(offset, `${name}, which names itself`);
    onFile?.(section, inside);
    const reader = new ConfigReader(this.#command, inside, { sections, section }, [...this.#outer, own]);
    this.#settings.push(...reader.read());
  }

  #map({ items }: YAMLMap<unknown, Node | null>, path: readonly string[], offset: number, document: Document): void {
    const chosen = path.length > 0 ? items.find(({ key }) => nameOf(key) === "classPath") : undefined;
    if (chosen !== undefined) {
      const from = `classPath of ${path.join(".")} of ${this.#at(offset)}`;
      this.#settings.push({ path, value: plain(chosen.value, document), isText: false, from });
    }
    for (const pair of items) {
      const { key, value } = pair;
      const name = nameOf(key);
      if (name === null) throw this.#wrong(offsetOf(key), "a name that is no text");
      if (pair === chosen) continue;
      if (chosen !== undefined && name !== "initArgs")
        throw this.#wrong(offsetOf(key), `${quoted(name)} beside classPath; its arguments stand in initArgs`);
      if (path.length === 0 && isNothing(value) && this.#open.has(name)) continue; // `model:` alone
      this.#visit(value, chosen === undefined ? [...path, name] : path, offsetOf(key), document);
    }
  }

  #at(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `${this.#file}:${line}:${col}`;
  }
  #wrong(offset: number, what: string): CommandError {
    return new CommandError(
      "ERR_CONFIG_FILE",
      `nbit ${this.#command}: expected ${this.#file} to be YAML. Received: ${this.#at(offset)}: ${what}`,
    );
  }
}

const isNothing = (node: unknown): boolean => isScalar(node) && node.value === null;
const isOfCommand = (name: string | null, sections: readonly string[]): boolean =>
  name !== null && COMMANDS.includes(name) && !sections.includes(name);

const nameOf = (key: unknown): string | null => (isScalar(key) && typeof key.value === "string" ? key.value : null);
const offsetOf = (node: unknown): number =>
  typeof node === "object" && node !== null && "range" in node && Array.isArray(node.range) ? Number(node.range[0]) : 0;

function plain(node: unknown, document: Document): unknown {
  if (isMap(node) || isSeq(node) || isScalar(node)) return node.toJS(document);
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
