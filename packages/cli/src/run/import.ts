/** Imports a user's file, TypeScript included. */
import { pathToFileURL } from "node:url";
import { enableTypeScript, explainTypeScript } from "./typescript.js";

/** @throws what the file throws; {CommandError} `ERR_TYPESCRIPT` where it cannot be read. */
export async function importModule(command: string, path: string): Promise<Record<string, unknown>> {
  if (path.endsWith("ts")) enableTypeScript();
  try {
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (error) {
    throw explainTypeScript(command, error);
  }
}
