/** The README's two commands in a fresh clone, as an ordinary user whose home cannot be written. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../../packages/native/lib/places.mjs";
import { root as checkout } from "../workspace.mjs";
import { must } from "./base.mjs";
import { Root, readOnly, writable } from "./root.mjs";

/** What the README asks for, beside Node.js with npm; git is how a clone comes about. */
export const ASKED = ["ca-certificates", "git", "g++", "python3", "python3-pip"];
const USER = "ada";
const FOLDER = "/srv";

/** Where the clone has put what it compiled, as its user could not write at home. */
export const OBJECTS = `${FOLDER}/nbit/build/cache/objects`;

/**
 * @param {import("./steps.mjs").Steps} steps
 * @param {object} options
 * @param {string} options.work
 * @param {boolean} options.whole Whether all tests run.
 * @param {string} options.tarballs Where the packages go.
 * @param {boolean} options.lend Whether this machine's compiled objects are there already.
 */
export async function clonePath(steps, { work, whole, tarballs, lend }) {
  const root = await steps.step(`a root with ${ASKED.join(", ")}`, () => new Root(work, ASKED));
  await steps.step("Node.js and npm", () => root.installNode(work, lend));
  root.addUser(USER, [FOLDER]);
  const home = `/home/${USER}`;
  const before = names(root, home);
  const mounts = [
    readOnly(join(root.path, home), home),
    writable(tarballs, "/mnt/packages"),
    ...sources(work).map((path) => readOnly(path, `/mnt/${path.slice(work.length + 1)}`)),
  ];
  const outside = { user: USER, folder: FOLDER, mounts };
  const inside = { ...outside, folder: `${FOLDER}/nbit` };

  await steps.command("git clone", root, "git clone -q /mnt/nbit.bundle nbit", outside);
  await root.run("[ ! -s /mnt/changes ] || git apply /mnt/changes", { ...inside, log: steps.log });
  if (lend) await steps.step("compiled objects of this machine", () => lendObjects(root));
  await steps.command("npm start", root, "npm start", inside);
  if (!root.has(`${FOLDER}/nbit/runs/mnist/report.html`)) throw new Error("npm start wrote no runs/mnist/report.html");
  const test = whole ? "npm test" : "npm test -- precision-contract";
  await steps.command(test, root, test, inside);
  await steps.command("npm run prebuild", root, "npm run prebuild -- 2.13-cpu", inside);
  await steps.command("npm run pack", root, "npm run pack && cp build/packages/*.tgz /mnt/packages", inside);
  if (names(root, home) !== before) throw new Error(`something was written to ${home}: ${names(root, home)}`);
}

/** Objects are kept by the hash of all that they are made of, so what does not fit is not taken. */
function lendObjects(root) {
  const own = join(cacheFolder(), "objects");
  const target = join(root.path, OBJECTS);
  mkdirSync(target, { recursive: true });
  if (existsSync(own)) must("cp", ["-a", `${own}/.`, target]);
  must("chroot", [root.path, "chown", "-R", `${USER}:${USER}`, `${FOLDER}/nbit/build`]);
}

const names = (root, folder) => readdirSync(join(root.path, folder)).sort().join(", ");

/** The checkout as a bundle to clone, and what is not committed yet of its tracked files as a patch. */
function sources(work) {
  const bundle = join(work, "nbit.bundle");
  const changes = join(work, "changes");
  must("git", ["bundle", "create", "--quiet", bundle, "HEAD"], { cwd: checkout });
  writeFileSync(changes, must("git", ["diff", "--binary", "HEAD"], { cwd: checkout }));
  return [bundle, changes];
}
