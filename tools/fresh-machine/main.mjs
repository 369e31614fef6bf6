/**
 * A fresh machine, in truth: `npm run fresh-machine`.
 *
 * Minimal Debian roots hold nothing but what the README asks for.
 *
 * - clone: an ordinary user, whose home cannot be written, clones this checkout and gives the README's two commands.
 * - packages: without a compiler, a user installs the tarballs of `npm run pack`, and trains with the README's program.
 * - image: the Dockerfile's lines, run in roots; then the example of docs/deploying.md on top.
 *
 * Prints the minutes of every step. Needs Linux, root, and Debian's packages.
 *
 *     --whole        all three, and all tests in the clone; otherwise two, and the tests that every precision passes
 *     --only=PARTS   some of them; `packages` without `clone` takes the tarballs in build/packages
 *     --lend         compiled files of this machine's cache are there already, with its headers of Node-API, so that they
 *                    fit: for machines that have just compiled all of them
 *     --keep         leaves the roots in place, and says where
 *     --may-skip     ends well, and says why, where no root can be made
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cacheFolder } from "../../packages/native/lib/places.mjs";
import { root as checkout } from "../workspace.mjs";
import { obstacle } from "./base.mjs";
import { OBJECTS, clonePath } from "./clone.mjs";
import { imagePath } from "./image.mjs";
import { packagesPath } from "./packages.mjs";
import { endAll } from "./root.mjs";
import { Steps } from "./steps.mjs";

const PARTS = { clone: clonePath, packages: packagesPath, image: imagePath };

const { values } = parseArgs({
  options: {
    whole: { type: "boolean", default: false },
    only: { type: "string" },
    lend: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
    "may-skip": { type: "boolean", default: false },
  },
});

async function main() {
  const wanted = (values.only ?? (values.whole ? "clone,packages,image" : "clone,packages")).split(",");
  for (const name of wanted)
    if (!(name in PARTS))
      throw new Error(`--only: expected some of ${Object.keys(PARTS).join(", ")}. Received: ${name}`);
  const work = mkdtempSync(join(tmpdir(), "nbit-fresh-"));
  chmodSync(work, 0o755); // its other users look into it
  const steps = new Steps(
    join(checkout, "build", `fresh-machine${values.only === undefined ? "" : `-${values.only}`}.log`),
  );
  try {
    const packed = wanted.includes("clone") ? join(work, "tarballs") : join(checkout, "build", "packages");
    mkdirSync(packed, { recursive: true });
    chmodSync(packed, 0o777);
    const lent = join(cacheFolder(), "objects");
    let objects = values.lend && existsSync(lent) ? lent : null;
    for (const name of wanted) {
      console.log(`${name}:`);
      const own = join(work, name);
      mkdirSync(own);
      await PARTS[name](steps, { work: own, whole: values.whole, tarballs: packed, objects, lend: values.lend });
      if (name === "clone") objects = join(own, "root", OBJECTS);
    }
    console.log(`fresh machine: ${steps.total()}`);
  } finally {
    if (values.keep) console.log(`kept: ${work}`);
    else rmSync(work, { recursive: true, force: true });
  }
}

const why = obstacle();
if (why !== null) {
  console.log(`fresh machine: not run, ${why}`);
  if (!values["may-skip"]) process.exitCode = 1;
} else {
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, endAll); // the step fails, and all is tidied up
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
