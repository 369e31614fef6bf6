/**
 * Runs beside the program, as Node's module hooks do: TypeScript files become JavaScript while they are imported, one
 * at a time and without type checks.
 */
import { readFile } from "node:fs/promises";
import type { InitializeHook, LoadHook, ResolveHook } from "node:module";
import { fileURLToPath } from "node:url";

interface Diagnostic {
  readonly start?: number;
  readonly messageText: string | { readonly messageText: string };
}
interface Compiler {
  transpileModule(
    source: string,
    options: {
      readonly fileName: string;
      readonly reportDiagnostics: boolean;
      readonly compilerOptions: Readonly<Record<string, unknown>>;
    },
  ): { readonly outputText: string; readonly diagnostics?: readonly Diagnostic[] };
  readonly ScriptTarget: { readonly ES2022: number };
  readonly ModuleKind: { readonly ESNext: number };
}
let compiler: Compiler | null = null;

const isTypeScript = (url: string | undefined): boolean =>
  url !== undefined && url.startsWith("file:") && /\.m?ts$/.test(new URL(url).pathname);

export const initialize: InitializeHook<{ readonly compiler: string }> = async (data) => {
  compiler = ((await import(data.compiler)) as { readonly default: Compiler }).default;
};

/** `./model.js` in TypeScript means `./model.ts` when that is what there is. */
export const resolve: ResolveHook = async (specifier, context, next) => {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (!isTypeScript(context.parentURL) || !/^\.{1,2}\/.*\.m?js$/.test(specifier)) throw error;
    try {
      return await next(specifier.replace(/js$/, "ts"), context);
    } catch {
      throw error; // it is about the name as it was written
    }
  }
};

export const load: LoadHook = async (url, context, next) => {
  if (!isTypeScript(url) || compiler === null) return next(url, context);
  const source = await readFile(new URL(url), "utf8");
  const { outputText, diagnostics = [] } = compiler.transpileModule(source, {
    fileName: url,
    reportDiagnostics: true, // of syntax alone: types are not checked
    compilerOptions: {
      target: compiler.ScriptTarget.ES2022,
      module: compiler.ModuleKind.ESNext,
      inlineSourceMap: true,
      inlineSources: true,
    },
  });
  const [first] = diagnostics;
  if (first !== undefined)
    throw Object.assign(new SyntaxError(describe(first, source, url)), { code: "ERR_TYPESCRIPT" });
  return { format: "module", shortCircuit: true, source: outputText };
};

/** `model.ts:3:14: Expression expected.` */
function describe({ start = 0, messageText }: Diagnostic, source: string, url: string): string {
  const before = source.slice(0, start).split("\n");
  const text = typeof messageText === "string" ? messageText : messageText.messageText;
  return `${fileURLToPath(url)}:${before.length}:${(before.at(-1) ?? "").length + 1}: ${text}`;
}
