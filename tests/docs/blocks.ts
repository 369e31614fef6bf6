import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

/** A TypeScript block of a guide, and what the guide says that it prints. */
export interface Block {
  readonly document: string;
  /** Line of the opening fence. */
  readonly line: number;
  readonly code: string;
  /** Text of the `text` block that follows; null when there is none. */
  readonly output: string | null;
}

export function blocksOf(path: string): Block[] {
  const text = readFileSync(path, "utf8");
  const blocks: Block[] = [];
  for (const match of text.matchAll(/^```ts\n(.*?)^```\n(?:\n*^```text\n(.*?)^```$)?/gms)) {
    blocks.push({ document: basename(path), line: text.slice(0, match.index).split("\n").length, code: match[1] ?? "", output: match[2] ?? null });
  }
  return blocks;
}

/** Where the blocks are compiled: inside the workspace, so that they find the packages by their public names. */
const FOLDER = fileURLToPath(new URL("../docs-blocks", import.meta.url));

/** Type-checks all blocks with the project's strictness and compiles them. Returns the programs, and what the compiler had to say. */
export function compile(blocks: readonly Block[]): { programs: string[]; errors: string[] } {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  const sources = blocks.map((block) => {
    const path = join(FOLDER, `${block.document.replace(/\W/g, "-")}-${block.line}.mts`);
    writeFileSync(path, block.code);
    return path;
  });
  const program = ts.createProgram(sources, {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
    types: ["node"],
    strict: true,
    noImplicitOverride: true,
    verbatimModuleSyntax: true,
    skipLibCheck: true,
  });
  const result = program.emit();
  const errors = [...ts.getPreEmitDiagnostics(program), ...result.diagnostics].map((diagnostic) => {
    const at = diagnostic.file === undefined || diagnostic.start === undefined ? "" : `${basename(diagnostic.file.fileName)}:${diagnostic.file.getLineAndCharacterOfPosition(diagnostic.start).line + 1}: `;
    return at + ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n");
  });
  return { programs: sources.map((path) => path.replace(/\.mts$/, ".mjs")), errors };
}
