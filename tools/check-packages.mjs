/**
 * publint and Are The Types Wrong over the tarballs that users install: `npm run check:packages`. All packages are ES
 * modules only; how CommonJS would resolve them is not looked at.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { pack } from "./pack.mjs";
import { root } from "./workspace.mjs";

const ATTW = join(root, "node_modules", "@arethetypeswrong", "cli", "dist", "index.js");

async function lint(tarball) {
  const bytes = readFileSync(tarball);
  const { messages, pkg } = await publint({
    pack: { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) },
    strict: true,
  });
  return messages.map((message) => formatMessage(message, pkg, { color: false }));
}

/** The status and all that it said. */
function types(tarball) {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [ATTW, tarball, "--profile", "esm-only", "--format", "ascii", "--no-color", "--no-emoji"],
      { cwd: root, stdio: ["ignore", "pipe", "pipe"] },
    );
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (said += text));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, said }));
  });
}

const folder = mkdtempSync(join(tmpdir(), "nbit-packages-"));
let faults = 0;
try {
  const packed = pack([`--pack-destination=${folder}`]);
  for (const { name, filename, files } of packed) {
    const tarball = join(folder, filename);
    const missing = ["LICENSE", "README.md"]
      .filter((file) => !files.some(({ path }) => path === file))
      .map((file) => `${file} is missing`);
    const [messages, { status, said }] = await Promise.all([lint(tarball), types(tarball)]);
    const found = [...missing, ...messages, ...(status === 0 ? [] : [said])];
    faults += found.length;
    for (const what of found) console.error(`${name}: ${what}`);
  }
  console.log(`packages: ${packed.length} tarballs, ${faults} faults`);
  if (faults > 0 || packed.length === 0) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
