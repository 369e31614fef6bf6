import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import ts from "typescript";

/** A TypeScript block of a guide, and what the guide says that it prints. */
export interface Block {
  /** Its path from the root. */
  readonly document: string;
  /** Line of the opening fence. */
  readonly line: number;
  readonly code: string;
  /** Text of the `text` block that follows; null when there is none. */
  readonly output: string | null;
  /** Opened with `ts gpu`, `ts xla` or `ts tpu`: it compiles everywhere, and runs where there is that. */
  readonly needs: "gpu" | "xla" | "tpu" | null;
}

export const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Packages with code: those of binaries alone have none to show. */
const packages = readdirSync(join(root, "packages")).filter((name) => existsSync(join(root, "packages", name, "src")));
/** Every document whose programs are run. */
export const guides = [
  "README.md",
  "docs/getting-started.md",
  "docs/recipes.md",
  "docs/callbacks.md",
  "docs/checkpoints.md",
  "docs/cli.md",
  "docs/compatibility.md",
  "docs/memory-model.md",
  "docs/recorded-steps.md",
  "docs/profiling.md",
  "docs/precision-guide.md",
  "docs/autocast.md",
  "docs/low-bit.md",
  "docs/low-bit-optimizers.md",
  "docs/low-bit-gpu.md",
  "docs/gpu.md",
  "docs/data.md",
  "docs/files.md",
  "docs/logging.md",
  "docs/run-log.md",
  "docs/xla.md",
  "docs/launching.md",
  "docs/distributed-data-and-metrics.md",
  "docs/distributed-checkpoints.md",
  "docs/distributions.md",
  "docs/metrics.md",
  "docs/fsdp.md",
  "docs/tpu.md",
  ...packages.map((name) => `packages/${name}/README.md`),
];

export function blocksOf(path: string): Block[] {
  const text = readFileSync(path, "utf8");
  const blocks: Block[] = [];
  for (const match of text.matchAll(/^```ts(?: (gpu|xla|tpu))?\n(.*?)^```\n(?:\n*^```text\n(.*?)^```$)?/gms)) {
    blocks.push({
      document: relative(root, path),
      line: text.slice(0, match.index).split("\n").length,
      code: match[2] ?? "",
      output: match[3] ?? null,
      needs: (match[1] as Block["needs"] | undefined) ?? null,
    });
  }
  return blocks;
}

/**
 * Type-checks all blocks with the project's strictness and compiles them, in a folder inside the workspace, so that
 * they find the packages by their public names. Returns the programs, and what the compiler had to say.
 */
export function compile(blocks: readonly Block[], name = "docs-blocks"): { programs: string[]; errors: string[] } {
  const folder = fileURLToPath(new URL(`../${name}`, import.meta.url));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const sources = blocks.map((block) => {
    const path = join(folder, `${block.document.replace(/\W/g, "-")}-${block.line}.mts`);
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
    const at =
      diagnostic.file === undefined || diagnostic.start === undefined
        ? ""
        : `${basename(diagnostic.file.fileName)}:${diagnostic.file.getLineAndCharacterOfPosition(diagnostic.start).line + 1}: `;
    return at + ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n");
  });
  return { programs: sources.map((path) => path.replace(/\.mts$/, ".mjs")), errors };
}

/** What a program prints, in an empty folder that is like a project's: what it writes by relative paths goes with it. */
export async function execute(program: string): Promise<string> {
  const cwd = mkdtempSync(join(tmpdir(), "nbit-docs-"));
  symlinkSync(join(root, "node_modules"), join(cwd, "node_modules"));
  try {
    const env = { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" };
    return (await promisify(execFile)(process.execPath, [program], { cwd, env })).stdout;
  } finally {
    rmSync(cwd, { recursive: true });
  }
}
