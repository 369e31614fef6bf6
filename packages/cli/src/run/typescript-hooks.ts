/**
 * Module hooks: TypeScript files become JavaScript while they are imported. They never wait, and hand on what the next
 * hook returns, so that they serve Node's hooks of this thread and its older ones of another.
 */
import { existsSync, readFileSync } from "node:fs";
import { toJavaScript } from "./typescript-compile.js";

interface Resolving {
  readonly parentURL?: string | undefined;
}
export interface Loaded {
  readonly format: "module";
  readonly shortCircuit: true;
  readonly source: string;
}

const isTypeScript = (url: string | undefined): url is string =>
  url !== undefined && url.startsWith("file:") && /\.m?ts$/.test(new URL(url).pathname);

/** `./model.js` in TypeScript means `./model.ts` when that is what there is. */
export function resolve<C extends Resolving, R>(
  specifier: string,
  context: C,
  next: (specifier: string, context: C) => R,
): R {
  return next(writtenAs(specifier, context.parentURL), context);
}

function writtenAs(specifier: string, parent: string | undefined): string {
  if (!isTypeScript(parent) || !/^\.{1,2}\/.*\.m?js$/.test(specifier)) return specifier;
  const source = specifier.replace(/js$/, "ts");
  return !existsSync(new URL(specifier, parent)) && existsSync(new URL(source, parent)) ? source : specifier;
}

export function load<C, R>(url: string, context: C, next: (url: string, context: C) => R): R | Loaded {
  if (!isTypeScript(url)) return next(url, context);
  return { format: "module", shortCircuit: true, source: toJavaScript(readFileSync(new URL(url), "utf8"), url) };
}
