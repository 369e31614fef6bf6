import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { programOf, reportOf } from "./api.mjs";

test("a report has what users can reach, once, and what it mentions", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "nbit-api-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const files = {
    "index.d.ts":
      'export { B as Renamed, A, double } from "./a.js";\nexport * as inner from "./inner.js";\nexport { join } from "node:path";\n/** @internal */ export interface Hidden { x: 1 }\n',
    "a.d.ts":
      "import type { Options, Unused } from './options.js';\n/** A comment. */\nexport declare class A extends B {\n  #secret;\n  private state;\n  protected kept: string;\n  /** One. */\n  step(options?: Options): Unused extends never ? 1 : 2;\n}\nexport declare class B {}\nexport declare const double: {\n  (x: number): number;\n};\n",
    "inner.d.ts": "export declare function f<T extends object>(x: T): T;\n",
    "options.d.ts":
      "export interface Options { readonly deep?: Deep }\nexport type Deep = { a: 1 };\nexport type Unused = 0;\nexport type Unmentioned = 1;\n",
    "second.d.ts": 'export { A } from "./a.js";\n',
  };
  mkdirSync(join(folder, "dist"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, "dist", name), text);
  const entry = (name) => ({ types: `./dist/${name}.d.ts` });
  const program = programOf(["index", "second"].map((name) => join(folder, "dist", `${name}.d.ts`)));
  const report = reportOf(
    { name: "pkg", folder, manifest: { exports: { ".": entry("index"), "./second": entry("second") } } },
    program,
  );
  assert.equal(
    report,
    `# Public types of \`pkg\`

Written by \`npm run api\`; not edited.

## \`pkg\`

\`\`\`ts
class A extends B {
  protected kept: string;
  step(options?: Options): Unused extends never ? 1 : 2;
}
// exported as Renamed
class B {
}
const double: { (x: number): number; };
// join: from another package
// inner.*
// inner.f
function f<T extends object>(x: T): T;
\`\`\`

## \`pkg/second\`

\`\`\`ts
// A: as in pkg
\`\`\`

## Mentioned, not exported

\`\`\`ts
type Deep = {
    a: 1;
};
interface Options {
  readonly deep?: Deep;
}
type Unused = 0;
\`\`\`
`,
  );
});
