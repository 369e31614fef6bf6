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
const outside = mkdtempSync(join(tmpdir(), "nbit-cli-")); // a project with nbit, and a typescript that nobody may load
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
  writeFileSync(join(inside, "rows.ts"), ROWS);
  writeFileSync(join(inside, file), text);
  return run(join(root, "packages/cli/bin/nbit.mjs"), inside, file);
};

/** Syntax that becomes code, which stripping types alone does not give. */
const ENUM = `
import { LightningModule } from "@nbit/lightning";
import { DataLoader, nn, optim, Tensor } from "@nbit/torch";
import { Ones, Rate } from "./rows.js"; // one is a type, and says so nowhere
enum Size { In = 2 }
namespace Shape { export const out = 1; }
class Model extends LightningModule {
  layer: nn.Linear = new nn.Linear(Size.In, Shape.out);
  constructor(private readonly rate: Rate) { super(); }
  override trainingStep(x: Tensor): Tensor { return this.layer.forward(x).square().mean(); }
  override configureOptimizers(): optim.SGD { return new optim.SGD(this.parameters(), { lr: this.rate }); }
  override trainDataloader() { return new DataLoader(new Ones(Size.In), { numWorkers: 1 }); }
}
export const model = (): Model => new Model(0.1);
`;
/** Loaded by a thread of its own, too. */
const ROWS = `
import { Dataset, ones, type Tensor } from "@nbit/torch";
export type Rate = number;
export class Ones extends Dataset<Tensor> {
  constructor(private readonly width: number) { super(); }
  readonly length = 1;
  get(): Tensor { return ones([this.width]); }
}
`;

test("enums and parameter properties run, also in threads that load data", async () => {
  const { status, stderr } = await ours("enum.ts", ENUM);
  assert.equal(status, 0, stderr);
});

test("TypeScript that cannot be read: ERR_TYPESCRIPT with file, line and column", async () => {
  const { status, stderr } = await ours("syntax.ts", "export const a = 1;\nexport const model: = 3;\n");
  assert.deepEqual(
    [status, stderr],
    [
      2,
      `ERR_TYPESCRIPT: nbit fit: expected TypeScript that can be read. Received: ${join(inside, "syntax.ts")}:2:21: Unexpected token \`=\`. Expected an identifier, void, yield, null, await, break, a string literal, a numeric literal, true, false, \`, -, import, this, typeof, {, [, (.\nMore: npx nbit explain-error ERR_TYPESCRIPT\n`,
    ],
  );
});

test("a neighbour that is not there is named as it was written", async () => {
  const { status, stderr } = await ours("lonely.ts", 'import { model } from "./nowhere.js";\nexport { model };\n');
  assert.equal(status, 1);
  assert.match(stderr, /Cannot find module '.*nowhere\.js'/);
});

test("an error in TypeScript names the user's line", async () => {
  const { status, stderr } = await ours(
    "thrown.ts",
    "interface Unused {\n  a: number;\n}\nenum Size { In = 2 }\nthrow new RangeError(`size ${Size.In}`);\n",
  );
  assert.equal(status, 1);
  assert.match(stderr, /thrown\.ts:5/);
});

test("the typescript of the project is not asked, whatever it is", async () => {
  const modules = join(outside, "node_modules");
  mkdirSync(join(modules, "@nbit"), { recursive: true });
  // The command itself is copied: what it finds, it finds from where it really is.
  for (const part of ["bin", "dist", "package.json"])
    cpSync(join(root, "packages/cli", part), join(modules, "nbit", part), { recursive: true });
  for (const name of ["native", "torch", "apex", "lowbit", "xla", "lightning", "dashboard"])
    symlinkSync(join(root, "packages", name), join(modules, "@nbit", name), "dir");
  for (const name of ["yaml", "string-width", "@swc"]) {
    const own = join(root, "packages/cli/node_modules", name);
    symlinkSync(existsSync(own) ? own : join(root, "node_modules", name), join(modules, name), "dir");
  }
  mkdirSync(join(modules, "typescript"));
  writeFileSync(join(modules, "typescript", "index.js"), "throw new Error('loaded')");
  writeFileSync(join(outside, "rows.ts"), ROWS);
  writeFileSync(join(outside, "enum.mts"), ENUM);
  const { status, stderr } = await run(join(modules, "nbit/bin/nbit.mjs"), outside, "enum.mts");
  assert.equal(status, 0, stderr);
});
