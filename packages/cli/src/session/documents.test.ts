/** The guide to the command line does what it says: its files are written, its commands run in their order. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, mock, test } from "node:test";
import { fileURLToPath } from "node:url";
import { main } from "../main.js";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
mkdirSync(join(root, "build"), { recursive: true });
const folder = mkdtempSync(join(root, "build", "cli-guide-")); // inside the workspace, where @nbit/… is found
after(() => rmSync(folder, { recursive: true, force: true }));

interface Block {
  readonly language: string;
  readonly text: string;
}
const blocks: readonly Block[] = [
  ...readFileSync(join(root, "docs", "cli.md"), "utf8").matchAll(/^```(\w+)\n(.*?)^```$/gms),
].map(([, language = "", text = ""]) => ({ language, text }));

/** A block that begins with the name of a file is that file. */
for (const { text } of blocks) {
  const name = /^(?:\/\/|#) ([\w.]+\.(?:ts|yaml))\n/.exec(text)?.[1];
  if (name !== undefined) writeFileSync(join(folder, name), text);
}

async function run(line: string): Promise<{ status: number; said: string }> {
  const args = line
    .replace(/^npx nbit /, "")
    .replace(/ #.*$/, "")
    .trim()
    .split(/\s+/);
  let said = "";
  const mocks = (["log", "error"] as const).map((name) =>
    mock.method(console, name, (...parts: unknown[]) => void (said += `${parts.join(" ")}\n`)),
  );
  const before = process.cwd();
  process.chdir(folder);
  try {
    return { status: await main(args), said };
  } finally {
    process.chdir(before);
    for (const each of mocks) each.mock.restore();
  }
}

blocks.forEach(({ language, text }, i) => {
  if (language !== "sh") return;
  const commands = text.trimEnd().split("\n");
  test(commands.join("; "), async () => {
    let all = "";
    for (const line of commands) {
      assert.match(line, /^npx nbit /);
      const { status, said } = await run(line);
      assert.equal(status, Number(/# status (\d)$/.exec(line)?.[1] ?? 0), said);
      all += said;
    }
    const next = blocks[i + 1];
    if (next?.language !== "text") return;
    for (const line of next.text.trimEnd().split("\n")) {
      const [start = "", end = ""] = line.split("…");
      assert.ok(
        all
          .split("\n")
          .some((each) => (line.includes("…") ? each.startsWith(start) && each.endsWith(end) : each === line)),
        `${line}\nis not in\n${all}`,
      );
    }
  });
});
