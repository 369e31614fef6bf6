/** The tarballs in a project of one's own, where there is neither a compiler nor a header of Python's. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root as checkout } from "../workspace.mjs";
import { Root, readOnly } from "./root.mjs";

const ASKED = ["ca-certificates", "python3", "python3-pip"];
const USER = "grace";
const HOME = `/home/${USER}`;
const PROJECT = `${HOME}/project`;
/** The commands of README.md's "a project of your own", in a folder beside the clone. */
const INSTALL = "npm install ../nbit/build/packages/*.tgz";

/**
 * @param {import("./steps.mjs").Steps} steps
 * @param {object} options
 * @param {string} options.work
 * @param {string} options.tarballs Where the packages are.
 */
export async function packagesPath(steps, { work, tarballs }) {
  const root = await steps.step(`a root with ${ASKED.join(", ")}`, () => new Root(work, ASKED));
  await steps.step("Node.js and npm", () => root.installNode(work, false));
  root.addUser(USER, [PROJECT]);
  for (const unwanted of ["usr/bin/g++", "usr/bin/cc", "usr/bin/gcc", "usr/bin/c++", "usr/include/python3.11/Python.h"])
    if (root.has(unwanted)) throw new Error(`the root that should have no compiler has ${unwanted}`);
  const options = { user: USER, folder: PROJECT, mounts: [readOnly(tarballs, `${HOME}/nbit/build/packages`)] };

  await steps.command("npm init", root, "npm init -y && npm pkg set type=module", options);
  await steps.command("npm install of the tarballs", root, INSTALL, options);
  await steps.command("npx nbit setup", root, "npx nbit setup", options);
  writeFileSync(join(root.path, PROJECT, "train.ts"), readmeProgram());
  await steps.command("node train.ts, the README's script", root, "node train.ts", options);
}

/** The README's own program, so that what it shows is what was tried. */
export function readmeProgram() {
  const program = /^```ts\n([\s\S]*?)^```/m.exec(readFileSync(join(checkout, "README.md"), "utf8"))?.[1];
  if (program === undefined) throw new Error("README.md shows no program");
  return program;
}
