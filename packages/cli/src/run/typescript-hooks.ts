/** Runs beside the program, as Node's module hooks do: TypeScript files become JavaScript while they are imported, one at a time and without type checks. */
import { readFile } from "node:fs/promises";
import type { InitializeHook, LoadHook, ResolveHook } from "node:module";

interface Compiler {
  transpileModule(source: string, options: { readonly fileName: string; readonly compilerOptions: Readonly<Record<string, unknown>> }): { readonly outputText: string };
  readonly ScriptTarget: { readonly ES2022: number };
  readonly ModuleKind: { readonly ESNext: number };
}
let compiler: Compiler | null = null;

const isTypeScript = (url: string | undefined): boolean => url !== undefined && url.startsWith("file:") && /\.m?ts$/.test(new URL(url).pathname);

export const initialize: InitializeHook<{ readonly compiler: string }> = async (data) => {
  compiler = ((await import(data.compiler)) as { readonly default: Compiler }).default;
};

/** `./model.js` in TypeScript means `./model.ts` when that is what there is. */
export const resolve: ResolveHook = async (specifier, context, next) => {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (!isTypeScript(context.parentURL) || !/^\.{1,2}\/.*\.m?js$/.test(specifier)) throw error;
    return next(specifier.replace(/js$/, "ts"), context);
  }
};

export const load: LoadHook = async (url, context, next) => {
  if (!isTypeScript(url) || compiler === null) return next(url, context);
  const { outputText } = compiler.transpileModule(await readFile(new URL(url), "utf8"), {
    fileName: url,
    compilerOptions: { target: compiler.ScriptTarget.ES2022, module: compiler.ModuleKind.ESNext, inlineSourceMap: true, inlineSources: true },
  });
  return { format: "module", shortCircuit: true, source: outputText };
};
