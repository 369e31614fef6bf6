/**
 * Loads a module and all that it imports into a vm context of its own, as test runners do: a realm with its own
 * classes, on the same thread. Needs `--experimental-vm-modules`.
 */
import { readFileSync } from "node:fs";
import { createRequire, isBuiltin } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import vm from "node:vm";

export interface Realm {
  readonly load: (url: string) => Promise<Readonly<Record<string, unknown>>>;
  readonly run: (code: string) => unknown;
}

export function makeRealm(): Realm {
  const context = vm.createContext({
    process,
    console,
    setTimeout,
    setImmediate,
    queueMicrotask,
    performance,
    URL,
    TextEncoder,
    TextDecoder,
    structuredClone,
    AbortController,
    AbortSignal,
  });
  const modules = new Map<string, Promise<vm.Module>>();

  const load = (specifier: string, from: string): Promise<vm.Module> => {
    const key = isBuiltin(specifier) ? specifier : resolve(specifier, from);
    let found = modules.get(key);
    if (found === undefined) modules.set(key, (found = isBuiltin(key) ? builtin(key) : fromFile(key)));
    return found;
  };
  const builtin = async (name: string): Promise<vm.Module> => {
    const all = (await import(name)) as Record<string, unknown>;
    return new vm.SyntheticModule(
      Object.keys(all),
      function (this: vm.SyntheticModule) {
        for (const key of Object.keys(all)) this.setExport(key, all[key]);
      },
      { context },
    );
  };
  const fromFile = (url: string): Promise<vm.Module> =>
    Promise.resolve(
      new vm.SourceTextModule(readFileSync(fileURLToPath(url), "utf8"), {
        context,
        identifier: url,
        initializeImportMeta: (meta) => {
          meta.url = url;
        },
        importModuleDynamically: (specifier) => evaluated(load(specifier, url)),
      }),
    );
  const evaluated = async (promise: Promise<vm.Module>): Promise<vm.Module> => {
    const module = await promise;
    if (module.status === "unlinked") await module.link((specifier, from) => load(specifier, from.identifier));
    if (module.status === "linked") await module.evaluate();
    return module;
  };
  return {
    load: async (url) => (await evaluated(load(url, import.meta.url))).namespace as Readonly<Record<string, unknown>>,
    run: (code) => vm.runInContext(code, context) as unknown,
  };
}

function resolve(specifier: string, from: string): string {
  if (specifier.startsWith("file:")) return specifier;
  if (specifier.startsWith(".")) return new URL(specifier, from).href;
  // Our packages export ES modules only, which `require.resolve` finds by their default condition.
  return pathToFileURL(createRequire(from).resolve(specifier)).href;
}
