/**
 * zsh and fish complete commands, flags and their words by what `nbit completion` prints: `node tests/cli/shells.mjs`.
 * Installs the shells where they are not there, on Debian or Ubuntu, as root. bash is a test of `npm test`.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { install } from "../distributed/launchers/check.mjs";

install(["zsh", "fish"], ["zsh", "fish"]);
const folder = mkdtempSync(join(tmpdir(), "nbit-shells-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const bin = fileURLToPath(new URL("../../packages/cli/bin/nbit.mjs", import.meta.url));
const run = (program, args) => execFileSync(program, args, { encoding: "utf8", timeout: 60_000, cwd: folder });

function scriptFor(shell) {
  const path = join(folder, `nbit.${shell}`);
  writeFileSync(path, run(process.execPath, [bin, "completion", shell]));
  run(shell, ["-n", path]); // its syntax
  return path;
}

/** What is typed, and what it must become. */
const CASES = [
  ["nbit va", "nbit validate"],
  ["nbit fit --maxE", "nbit fit --maxEpochs"],
  ["nbit fit --precision bf16-", "nbit fit --precision bf16-true"],
  ["nbit completion fi", "nbit completion fish"],
  ["nbit help conso", "nbit help consolidate"],
];
writeFileSync(join(folder, "run.yaml"), "");
const FILES = ["nbit fit --config ru", "nbit fit --config run.yaml"];

const fish = scriptFor("fish");
for (const [typed, becomes] of [...CASES, FILES]) {
  const offered = run("fish", ["--no-config", "-c", `source ${fish}; complete -C ${JSON.stringify(typed)}`]);
  const words = offered.split("\n").map((line) => line.split("\t")[0]);
  assert.ok(words.includes(becomes.split(" ").at(-1)), `fish: ${typed}: ${offered}`);
}
// What a command is called comes once: after it there are no commands any more.
assert.doesNotMatch(run("fish", ["--no-config", "-c", `source ${fish}; complete -C "nbit fit --max"`]), /validate/);

// A terminal of zsh's own, in which a tab is pressed; it ends when what it must become is there, or with its time.
const zsh = scriptFor("zsh");
const driver = join(folder, "driver.zsh");
writeFileSync(
  driver,
  `zmodload zsh/zpty
zpty z "TERM=dumb PS1='' zsh -f -i"
zpty -w z "autoload -Uz compinit && compinit -u -D; source ${zsh}; bindkey '^I' complete-word; setopt no_beep; echo REA''DY"
zpty -r z out '*READY*'
zpty -w -n z "$1"$'\\t'
zpty -r z out "*$2*"
print -r -- "$out"
zpty -d z
`,
);
for (const [typed, becomes] of [...CASES, FILES])
  assert.ok(run("zsh", ["-f", driver, typed, becomes]).includes(becomes), `zsh: ${typed}`);

console.log(`zsh and fish complete ${CASES.length + 1} lines each`);
