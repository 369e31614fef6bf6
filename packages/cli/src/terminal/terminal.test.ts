import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { commands } from "../commands/index.js";
import { helpText, overview, table } from "../help/text.js";
import { measureWide } from "../help/width.js";
import stringWidth from "string-width";
import { errorText } from "./errors.js";
import { quoteForShell } from "./quote.js";
import { warningLine } from "./warnings.js";

function script(code: string, flags: readonly string[] = []): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...flags, "--input-type=module", "-e", code], (_error, stdout, stderr) =>
      resolve({ stdout, stderr }),
    );
  });
}
const url = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);

test("a warning is one line, once, with its code; Node's own flags count", async () => {
  const code = `import { showWarnings } from ${url("./warnings.js")};
showWarnings();
for (let i = 0; i < 2; i++) process.emitWarning("first\\nsecond", { type: "NbitWarning", code: "WARN_X" });
process.emitWarning("plain");`;
  assert.equal((await script(code)).stderr, "warning WARN_X: first\\nsecond\nwarning Warning: plain\n");
  assert.equal((await script(code, ["--no-warnings"])).stderr, "");
  assert.match((await script(code, ["--trace-warnings"])).stderr, /NbitWarning: first/);
  assert.equal(warningLine(new TypeError("t")), "warning TypeError: t");
});

test("an error without a frame of the user's shows all; a missing module one line; what is no error is named", () => {
  const ours = Object.assign(new Error("inside"), {
    stack: "Error: inside\n    at f (/x/node_modules/@nbit/torch/dist/a.js:1:2)",
  });
  assert.match(errorText(ours, false), /torch\/dist\/a\.js/);
  const missing = Object.assign(new Error("Cannot find module 'x'"), {
    code: "ERR_MODULE_NOT_FOUND",
    stack: "Error\n    at f (node:internal/x:1:2)",
  });
  assert.equal(errorText(missing, false), "Error ERR_MODULE_NOT_FOUND: Cannot find module 'x'");
  assert.match(errorText("just text", false), /the program threw "?just text/);
  assert.match(errorText(undefined, false), /undefined/);
});

test("the user's frames stay, ours go, causes are told", () => {
  const here = fileURLToPath(new URL("terminal.test.js", import.meta.url));
  const error = Object.assign(new Error("outer", { cause: new Error("inner") }), {
    stack: `Error: outer\n    at inner (/x/node_modules/@nbit/torch/dist/a.js:1:2)\n    at user (/nowhere/program.ts:3:7)\n    at node:internal/x:1:1`,
  });
  const text = errorText(error, false);
  assert.deepEqual(text.split("\n"), [
    "/nowhere/program.ts:3:7",
    "Error: outer",
    "    at user (/nowhere/program.ts:3:7)",
    "    (2 more of nbit and Node.js: --verbose or NBIT_STACK=1)",
    "Caused by Error: inner",
  ]);
  assert.match(errorText(error, true), /node:internal/);
  assert.ok(here.endsWith("terminal.test.js"));
});

test("help fits its terminal, however narrow, and says every flag once", async () => {
  for (const width of [40, 80, 120])
    for (const command of commands.values()) {
      const lines = helpText(command, [], width).split("\n");
      const wide = lines.filter(
        (line) => stringWidth(line) > width && !/^\s/.test(line) && line.includes(" ") && !line.startsWith("Usage"),
      );
      assert.deepEqual(wide, [], command.name);
    }
  assert.ok(
    overview(commands.values(), 50)
      .split("\n")
      .every((line) => stringWidth(line) <= 50 || !line.includes(" ")),
  );
  await measureWide();
  assert.deepEqual(table([["名前", "text"]], 80), ["  名前  text"]);
});

test("completion: every command and flag, in scripts that their shells can read", async () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { stdout } = await script(
      `import { main } from ${url("../main.js")}; await main(["completion", ${JSON.stringify(shell)}]);`,
    );
    for (const name of commands.keys()) assert.match(stdout, new RegExp(`\\b${name}\\b`), `${shell} ${name}`);
    assert.match(stdout, /ckptPath/);
    if (shell !== "bash") continue;
    const complete = `${stdout}\nCOMP_WORDS=(nbit fit --maxE); COMP_CWORD=2; _nbit; echo "\${COMPREPLY[@]}"\nCOMP_WORDS=(nbit va); COMP_CWORD=1; _nbit; echo "\${COMPREPLY[@]}"\nCOMP_WORDS=(nbit fit --precision b); COMP_CWORD=3; _nbit; echo "\${COMPREPLY[@]}"`;
    const said = await new Promise<string>((resolve) => execFile("bash", ["-c", complete], (_e, out) => resolve(out)));
    assert.equal(said, "--maxEpochs\nvalidate\nbf16 bf16-true\n");
  }
});

test("an argument for a shell is in quotes where it must be", () => {
  assert.deepEqual(["a.ts", "a b", "it's"].map(quoteForShell), ["a.ts", "'a b'", "'it'\\''s'"]);
});
