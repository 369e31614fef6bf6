/**
 * Lets `import` read TypeScript: through the `typescript` package of the user's project, or Node's own stripping of
 * types where it has that.
 */
import { createRequire, register } from "node:module";
import { pathToFileURL } from "node:url";
import { CommandError } from "../errors.js";
import { isError } from "@nbit/torch/realm";

let enabled = false;

/** Once in a process. @throws {CommandError} `ERR_TYPESCRIPT` when there is neither. */
export async function enableTypeScript(command: string, file: string): Promise<void> {
  if (enabled) return;
  const compiler = findCompiler(file);
  if (compiler !== null) {
    process.setSourceMapsEnabled(true); // stacks name the user's lines
    register(new URL("typescript-hooks.js", import.meta.url), { data: { compiler: pathToFileURL(compiler).href } });
  } else if (!nodeStripsTypes()) {
    throw new CommandError(
      "ERR_TYPESCRIPT",
      `nbit ${command}: expected the typescript package, to read ${file}. Received: none, and Node.js ${process.versions.node}, which does not strip types itself. ${INSTALL}`,
    );
  }
  enabled = true;
}

const INSTALL = "Run: npm install --save-dev typescript";

/**
 * What `import` threw, as one message where it is about the TypeScript itself: its syntax, or what Node.js alone cannot
 * run; else as it is.
 */
export function explainTypeScript(command: string, error: unknown): unknown {
  if (!isError(error) || !("code" in error)) return error;
  if (error.code === "ERR_TYPESCRIPT")
    return new CommandError(
      "ERR_TYPESCRIPT",
      `nbit ${command}: expected TypeScript that can be read. Received: ${error.message}`,
    );
  if (error.code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX" || error.code === "ERR_INVALID_TYPESCRIPT_SYNTAX")
    return new CommandError(
      "ERR_TYPESCRIPT",
      `nbit ${command}: expected the typescript package, or TypeScript whose types can be stripped. Received: none, and ${error.message.trim()}. ${INSTALL}`,
    );
  return error;
}

function nodeStripsTypes(): boolean {
  const feature: unknown = Reflect.get(process.features, "typescript");
  return feature === "strip" || feature === "transform";
}

function findCompiler(file: string): string | null {
  for (const from of [file, import.meta.url]) {
    try {
      return createRequire(from).resolve("typescript");
    } catch {
      continue; // the next place
    }
  }
  return null;
}
