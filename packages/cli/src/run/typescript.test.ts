import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
mkdirSync(join(root, "build"), { recursive: true });
const inside = mkdtempSync(join(root, "build", "cli-")); // where @nbit/… and typescript are found
const outside = mkdtempSync(join(tmpdir(), "nbit-cli-")); // a project with nbit, but without typescript
after(() => {
  for (const folder of [inside, outside]) rmSync(folder, { recursive: true, force: true });
});

interface Result {
  readonly status: number;
  readonly stderr: string;
}
function run(bin: string, folder: string, file: string): Promise<Result> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [bin, "fit", file, "--fastDevRun", "--accelerator", "cpu"],
      { cwd: folder },
      (error, _stdout, stderr) =>
        resolve({ status: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, stderr }),
    );
  });
}
const ours = (file: string, text: string): Promise<Result> => {
  writeFileSync(join(inside, file), text);
  return run(join(root, "packages/cli/bin/nbit.mjs"), inside, file);
};

/** Syntax that becomes code, which stripping types alone does not give. */
const ENUM = `
import { LightningModule } from "@nbit/lightning";
import { nn, ones, optim, type Tensor } from "@nbit/torch";
enum Size { In = 2 }
class Model extends LightningModule {
  layer: nn.Linear = new nn.Linear(Size.In, 1);
  constructor(private readonly rate: number) { super(); }
  override trainingStep(x: Tensor): Tensor { return this.layer.forward(x).square().mean(); }
  override configureOptimizers(): optim.SGD { return new optim.SGD(this.parameters(), { lr: this.rate }); }
  override trainDataloader(): Tensor[] { return [ones([1, Size.In])]; }
}
export const model = (): Model => new Model(0.1);
`;

test("enums and parameter properties run, through the typescript package", async () => {
  const { status, stderr } = await ours("enum.ts", ENUM);
  assert.equal(status, 0, stderr);
});

test("TypeScript that cannot be read: ERR_TYPESCRIPT with file, line and column", async () => {
  const { status, stderr } = await ours("syntax.ts", "export const a = 1;\nexport const model: = 3;\n");
  assert.deepEqual(
    [status, stderr],
    [
      2,
      `ERR_TYPESCRIPT: nbit fit: expected TypeScript that can be read. Received: ${join(inside, "syntax.ts")}:2:21: Type expected.\n`,
    ],
  );
});

test("a neighbour that is not there is named as it was written", async () => {
  const { status, stderr } = await ours("lonely.ts", 'import { model } from "./nowhere.js";\nexport { model };\n');
  assert.equal(status, 1);
  assert.match(stderr, /Cannot find module '.*nowhere\.js'/);
});

test("without the typescript package, what Node.js cannot run by itself is ERR_TYPESCRIPT, with the command that installs it", async () => {
  const modules = join(outside, "node_modules");
  mkdirSync(join(modules, "@nbit"), { recursive: true });
  // The command itself is copied: it looks for typescript from where it really is.
  for (const part of ["bin", "dist", "package.json"])
    cpSync(join(root, "packages/cli", part), join(modules, "nbit", part), { recursive: true });
  for (const name of ["native", "torch", "apex", "lowbit", "xla", "lightning", "dashboard"])
    symlinkSync(join(root, "packages", name), join(modules, "@nbit", name), "dir");
  for (const name of ["yaml", "string-width"]) {
    const own = join(root, "packages/cli/node_modules", name);
    symlinkSync(existsSync(own) ? own : join(root, "node_modules", name), join(modules, name), "dir");
  }
  writeFileSync(join(outside, "enum.mts"), ENUM);
  const { status, stderr } = await run(join(modules, "nbit/bin/nbit.mjs"), outside, "enum.mts");
  assert.equal(status, 2, stderr);
  assert.match(
    stderr,
    /^(?:\(node:[^\n]*\n)*ERR_TYPESCRIPT: nbit fit: expected the typescript package, [\s\S]* Run: npm install --save-dev typescript\n$/,
  );
});
