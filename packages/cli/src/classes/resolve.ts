/** From the name of a class, or `file#Name`, to the class. */
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { nearest } from "@nbit/torch/names";
import { CommandError } from "../errors.js";
import { importModule } from "../run/import.js";
import type { Given } from "../settings/given.js";
import { isClassOf, ownClasses, wordsOf, type AnyClass, type ClassKind } from "./kinds.js";

/** Where names are looked up: what the user's file exports. */
export type Exports = ReadonlyMap<string, unknown>;

/**
 * The class of a name that the user's file exports or that nbit has, or of `./net.ts#Net` and `package#Net`, which are
 * imported: without `#`, what a file has by default.
 *
 * @throws {CommandError} `ERR_CLASS`: `nbit fit: expected --optimizer to be the name of an optimizer: SGD. Received:
 * "SDG".`
 */
export async function resolveClass(
  command: string,
  kind: ClassKind,
  given: Given,
  exports: Exports,
): Promise<AnyClass> {
  const classPath = String(given.value);
  const [place = "", name] = split(classPath);
  const found = place === "" ? lookUp(kind, name, exports) : (await exportsOf(command, given, place)).get(name);
  if (isClassOf(kind, found)) return found;
  const known = place === "" ? namesOf(kind, exports) : [];
  const near = nearest(name, known);
  const hint =
    near !== null
      ? `${near}.`
      : known.length > 0
        ? `one of ${known.join(", ")}, or a file and a name, such as ./own.ts#Own.`
        : "./own.ts#Own, or what the file exports.";
  throw new CommandError(
    "ERR_CLASS",
    `nbit ${command}: expected ${given.from} to be the name of ${wordsOf(kind)}: ${hint} Received: ${JSON.stringify(classPath)}${found === undefined ? "" : ", which is something else"}.`,
  );
}

/** Of `./net.ts#Net`: place and name. A file alone means what it exports by default; a name alone has no place. */
function split(classPath: string): [place: string, name: string] {
  const hash = classPath.lastIndexOf("#");
  if (hash !== -1) return [classPath.slice(0, hash), classPath.slice(hash + 1)];
  return /\.m?[jt]s$/.test(classPath) ? [classPath, "default"] : ["", classPath];
}

function lookUp(kind: ClassKind, name: string, exports: Exports): unknown {
  return exports.get(name) ?? ownClasses(kind).get(name);
}
function namesOf(kind: ClassKind, exports: Exports): string[] {
  const theirs = [...exports].flatMap(([name, value]) => (isClassOf(kind, value) ? [name] : []));
  return [...new Set([...theirs, ...ownClasses(kind).keys()])].sort();
}

async function exportsOf(command: string, given: Given, place: string): Promise<Exports> {
  return new Map(Object.entries(await importModule(command, locate(command, given, place))));
}

/** A file from the working directory, or a package of the project there. */
function locate(command: string, given: Given, place: string): string {
  const path = resolve(place);
  if (existsSync(path)) return path;
  if (!/^[./]/.test(place) && !/\.m?[jt]s$/.test(place)) {
    try {
      return createRequire(join(process.cwd(), "package.json")).resolve(place);
    } catch {
      // said below
    }
  }
  throw new CommandError(
    "ERR_FILE",
    `nbit ${command}: expected ${given.from} to name a file or a package. Received: ${place}, which is not there (${pathToFileURL(path).pathname}).`,
  );
}
