/** TypeScript as JavaScript, one file at a time and without type checks. */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { Options, TransformOutput } from "@swc/wasm-typescript";
import { isError } from "@nbit/torch/realm";

type Transform = (source: string, options: Options) => TransformOutput;
let transform: Transform | null = null;

/** 4 MB of WebAssembly: read at the first file, and by nobody else. */
function compiler(): Transform {
  const require = createRequire(import.meta.url);
  return (transform ??= (require("@swc/wasm-typescript") as { readonly transformSync: Transform }).transformSync);
}

/**
 * The JavaScript of a file, with its source map at the end.
 *
 * Enums, namespaces and parameter properties become code; an import that is used as a type only is left out.
 *
 * @param url - Of the file, for messages and stacks.
 * @throws {SyntaxError} with the code `ERR_TYPESCRIPT`: `model.ts:3:14: what was found.`
 */
export function toJavaScript(source: string, url: string): string {
  try {
    const { code, map } = compiler()(source, { filename: url, mode: "transform", module: true, sourceMap: true });
    return `${code}\n//# sourceMappingURL=data:application/json;base64,${inlined(map ?? "{}", source, url)}\n`;
  } catch (error) {
    throw Object.assign(new SyntaxError(describe(error, url)), { code: "ERR_TYPESCRIPT" });
  }
}

function inlined(map: string, source: string, url: string): string {
  const whole = { ...(JSON.parse(map) as object), sources: [url], sourcesContent: [source] };
  return Buffer.from(JSON.stringify(whole)).toString("base64");
}

/** The compiler throws plain objects. */
interface Fault {
  readonly message?: string;
  readonly startLine?: number;
  readonly startColumn?: number;
}

function describe(error: unknown, url: string): string {
  if (typeof error !== "object" || error === null) return `${fileURLToPath(url)}: ${String(error)}`;
  const { message = String(error), startLine = 1, startColumn = 0 }: Fault = error;
  const place = isError(error) ? "" : `:${startLine}:${startColumn + 1}`;
  return `${fileURLToPath(url)}${place}: ${message.replace(/\.?$/, ".")}`;
}
