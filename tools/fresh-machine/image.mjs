/**
 * The Dockerfile where there is no Docker: its lines, run in roots that stand for its stages. A stage that begins with
 * the image `node` begins here with a minimal Debian and Node.js; mounts of caches are folders, and those of secrets
 * are what every root gets from this machine's settings.
 */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { contextFiles } from "../docker/context.mjs";
import { assignments, parseDockerfile, stagesOf, substitute } from "../docker/parse.mjs";
import { root as checkout } from "../workspace.mjs";
import { must } from "./base.mjs";
import { readmeProgram } from "./packages.mjs";
import { Root, writable } from "./root.mjs";

/**
 * @param {import("./steps.mjs").Steps} steps
 * @param {object} options
 * @param {string} options.work
 * @param {string | null} options.objects Folder of compiled files, as a builder has in its cache from the build before.
 * @param {boolean} options.lend
 */
export async function imagePath(steps, { work, objects, lend }) {
  if (objects !== null) cpSync(objects, cacheOf(work, "/opt/nbit/objects"), { recursive: true });
  const build = new Build(steps, work, { lend });
  const image = await build.run(readFileSync(join(checkout, "Dockerfile"), "utf8"), checkout);
  const parts = ["/opt/nbit", "/app", "/usr/local", "/"].map((folder) => `${folder} ${megabytes(image.root, folder)}`);
  console.log(`  its size in MB: ${parts.join(", ")}`);
  await image.start("docker run", steps);

  // The example of docs/deploying.md: an image of one's own, above this one.
  const context = join(work, "context");
  mkdirSync(context);
  writeFileSync(join(context, "train.ts"), readmeProgram());
  const example = /^```dockerfile\n([\s\S]*?)^```/m.exec(
    readFileSync(join(checkout, "docs", "deploying.md"), "utf8"),
  )?.[1];
  if (example === undefined) throw new Error("docs/deploying.md shows no Dockerfile");
  const own = new Build(steps, join(work, "own"), { lend, images: { "nbit:0.1.0": image } });
  await (await own.run(example, context)).start("docker run of the guide's image", steps);
}

/** A root as an image: what its next instruction, and the start of a container, begin with. */
class Image {
  /** @param {Root} root */
  constructor(root, { env = {}, user = "root", folder = "/", command = null } = {}) {
    Object.assign(this, { root, env, user, folder, command });
  }

  start(name, steps) {
    if (this.command === null) throw new Error("the image has no CMD");
    const words = this.command.map((word) => `'${word}'`).join(" ");
    return steps.command(`${name}: ${this.command.join(" ")}`, this.root, words, this);
  }
}

class Build {
  constructor(steps, work, { lend, images = {} }) {
    Object.assign(this, { steps, work, lend, images });
    mkdirSync(work, { recursive: true });
  }

  /**
   * @param {string} source Of a Dockerfile.
   * @param {string} context Folder that COPY copies from.
   * @returns {Promise<Image>} The last stage's.
   */
  async run(source, context) {
    const { before, stages } = stagesOf(parseDockerfile(source));
    const given = Object.fromEntries(before.flatMap(({ text }) => assignments(text)));
    const base = (stage) => substitute(stage.image, given);
    const built = {};
    for (const stage of neededStages(stages, base)) {
      const image = await this.#begin(stage, base(stage), built);
      for (const each of stage.instructions) await this.#one(each, image, { given, built, context });
      built[stage.name] = image;
    }
    return built[stages.at(-1).name];
  }

  async #begin(stage, name, built) {
    const folder = join(this.work, `stage-${stage.name}`);
    const from = built[name] ?? this.images[name];
    if (from !== undefined)
      return new Image(await this.steps.step(`FROM ${name}`, () => from.root.copyTo(folder)), from);
    if (!/^node:\S+-slim$/.test(name)) throw new Error(`FROM ${name}: here only images of Node.js on Debian are known`);
    return this.steps.step(`FROM ${name}`, () => {
      const root = new Root(folder, []);
      root.installNode(folder, this.lend);
      root.addUser("node");
      return new Image(root);
    });
  }

  async #one(instruction, image, { given, built, context }) {
    const { name, text, list, flags } = instruction;
    const plain = substitute(text, image.env);
    if (name === "ENV") Object.assign(image.env, Object.fromEntries(assignments(plain)));
    else if (name === "ARG")
      for (const [key, value] of assignments(plain)) image.env[key] ??= given[key] ?? value ?? "";
    else if (name === "USER") image.user = plain;
    else if (name === "CMD") image.command = list;
    else if (name === "WORKDIR") {
      image.folder = plain;
      mkdirSync(join(image.root.path, plain), { recursive: true });
    } else if (name === "COPY") this.#copy(plain, flags, image, built, context);
    else if (name === "RUN") {
      const mounts = flags.flatMap((flag) => this.#mount(flag));
      await this.steps.command(`RUN ${short(text)}`, image.root, text, { ...image, mounts });
    } else throw new Error(`${name} is not known here`);
  }

  #copy(text, flags, image, built, context) {
    const paths = text.split(/\s+/);
    const target = join(image.root.path, paths.at(-1).startsWith("/") ? "" : image.folder, paths.at(-1));
    const stage = /^--from=(\S+)$/.exec(flags[0] ?? "")?.[1];
    if (flags.length !== (stage === undefined ? 0 : 1)) throw new Error(`COPY ${flags.join(" ")} is not known here`);
    if (stage !== undefined) return copyFolder(join(built[stage].root.path, paths[0]), target);
    if (paths[0] === ".") return copyFiles(context, contextFiles(context), target);
    return copyFiles(context, paths.slice(0, -1), target);
  }

  #mount(flag) {
    const { type, target } = Object.fromEntries(
      flag
        .replace(/^--mount=/, "")
        .split(",")
        .map((part) => part.split("=")),
    );
    if (type === "secret") return [];
    if (type !== "cache") throw new Error(`RUN ${flag} is not known here`);
    return [writable(cacheOf(this.work, target), target)];
  }
}

function cacheOf(work, target) {
  const folder = join(work, "caches", target.replaceAll("/", "-"));
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** A stage that nothing is made from is not built, as in BuildKit. */
function neededStages(stages, base) {
  const needed = new Set([stages.at(-1).name]);
  for (const stage of [...stages].reverse()) {
    if (!needed.has(stage.name)) continue;
    needed.add(base(stage));
    for (const { flags } of stage.instructions) for (const flag of flags) needed.add(flag.replace(/^--from=/, ""));
  }
  return stages.filter(({ name }) => needed.has(name));
}

function copyFolder(source, target) {
  mkdirSync(target, { recursive: true });
  must("cp", ["-a", `${source}/.`, target]);
}

function copyFiles(folder, names, target) {
  mkdirSync(target, { recursive: true });
  const archive = must("tar", ["--create", "--owner=0", "--group=0", "--null", "--files-from=-"], {
    cwd: folder,
    input: Buffer.from(names.join("\0")),
    stdio: ["pipe", "pipe", "pipe"],
    encoding: "buffer",
  });
  must("tar", ["--extract", "--directory", target], { input: archive, stdio: ["pipe", "pipe", "pipe"] });
}

const short = (text) => (text.length > 60 ? `${text.slice(0, 57)}...` : text);
const megabytes = (root, folder) => Math.round(Number.parseInt(must("du", ["-skx", join(root.path, folder)])) / 1000);
