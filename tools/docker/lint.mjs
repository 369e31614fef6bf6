/**
 * What is wrong with a Dockerfile by the rules that hadolint and Docker's own checks have in common, for a machine that
 * has neither: `node tools/docker/lint.mjs [FILE...]`. The codes are hadolint's.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { fromRoot, root } from "../workspace.mjs";
import { assignments, parseDockerfile, stagesOf, substitute } from "./parse.mjs";

/** A rule looks at one instruction, and says what is wrong, or nothing. */
const RULES = [
  ["DL3020", "ADD", () => "COPY copies; ADD also fetches and unpacks"],
  ["DL4000", "MAINTAINER", () => "LABEL names who maintains it"],
  ["DL3000", "WORKDIR", ({ text }) => !/^[/$]/.test(text) && "an absolute path"],
  ["DL3025", "CMD", ({ list }) => list === null && 'the exec form: ["program", "argument"]; a shell swallows signals'],
  ["DL3025", "ENTRYPOINT", ({ list }) => list === null && 'the exec form: ["program", "argument"]'],
  ["DL3003", "RUN", ({ text }) => /(^|&&|;)\s*cd\s/.test(text) && "WORKDIR instead of cd"],
  ["DL3004", "RUN", ({ text }) => /\bsudo\b/.test(text) && "USER instead of sudo"],
  [
    "DL3009",
    "RUN",
    ({ text }) =>
      /apt-get update/.test(text) &&
      !/rm -rf? \/var\/lib\/apt\/lists/.test(text) &&
      "removes apt's lists in the same RUN",
  ],
  [
    "DL3014",
    "RUN",
    ({ text }) =>
      /apt-get install/.test(text) && !/apt-get install (\S+ )*(-y|--yes)/.test(text) && "apt-get install -y",
  ],
  [
    "DL3015",
    "RUN",
    ({ text }) => /apt-get install/.test(text) && !/--no-install-recommends/.test(text) && "--no-install-recommends",
  ],
  [
    "DL3005",
    "RUN",
    ({ text }) => /apt(-get)? (dist-)?upgrade/.test(text) && "a newer base image instead of an upgrade",
  ],
  ["DL3027", "RUN", ({ text }) => /(^|&&|;)\s*apt\s/.test(text) && "apt-get: apt is for people"],
  [
    "DL3016",
    "RUN",
    ({ text }) => /npm install (-g|--global) [\w@/-]+(\s|$)/.test(text) && "a global package with its version",
  ],
  [
    "DL3042",
    "RUN",
    ({ text, flags }) =>
      /pip3? install/.test(text) &&
      !/--no-cache-dir/.test(text) &&
      !flags.some((f) => f.includes("cache")) &&
      "pip install --no-cache-dir",
  ],
  ["DL4006", "RUN", ({ text }) => /[^|]\|[^|]/.test(text) && !/pipefail/.test(text) && "set -o pipefail before a pipe"],
  [
    "LegacyKeyValueFormat",
    "ENV",
    ({ text }) => !assignments(text).every(([, value]) => value !== undefined) && "NAME=value",
  ],
];
const SECRET = /(PASSWORD|TOKEN|SECRET|API_?KEY)/i;

/**
 * @param {string} source
 * @returns {{ line: number, code: string, what: string }[]} By line.
 */
export function lintDockerfile(source) {
  const all = parseDockerfile(source);
  const found = [];
  const say = (line, code, what) => found.push({ line, code, what });
  for (const each of all) {
    for (const [code, name, wrong] of RULES) {
      const what = each.name === name && wrong(each);
      if (typeof what === "string") say(each.line, code, `${name}: ${what}`);
    }
    if ((each.name === "ENV" || each.name === "ARG") && SECRET.test(each.text))
      say(
        each.line,
        "SecretsUsedInArgOrEnv",
        `${each.name}: a secret stays in the image; RUN --mount=type=secret does not`,
      );
  }
  const { before, stages } = stagesOf(all);
  const defaults = Object.fromEntries(before.flatMap(({ text }) => assignments(text)));
  const names = [];
  for (const stage of stages) {
    bases(stage, substitute(stage.image, defaults), names, say);
    copies(stage, names, say);
    names.push(stage.name);
  }
  lastStage(stages.at(-1), say);
  return found.sort((a, b) => a.line - b.line);
}

/** A base is pinned to a version: what is built tomorrow is what was tried today. */
function bases({ from }, image, names, say) {
  if (names.includes(image)) return;
  const tag = /:([^/]+)$/.exec(image)?.[1];
  if (image.includes("@sha256:")) return;
  if (tag === undefined) say(from.line, "DL3006", `FROM ${image}: with the version of the image`);
  else if (tag === "latest") say(from.line, "DL3007", `FROM ${image}: a version instead of latest`);
  else if (!/^v?\d+\.\d+/.test(tag)) say(from.line, "DL3006", `FROM ${image}: with major and minor version`);
}

/** What changes seldom comes first, or every build does everything anew. */
function copies({ instructions }, names, say) {
  const everything = instructions.findIndex(
    ({ name, flags, text }) => name === "COPY" && flags.length === 0 && /^\.\/?\s/.test(text),
  );
  for (const [i, { name, line, flags, text }] of instructions.entries()) {
    const from = flags.find((flag) => flag.startsWith("--from="))?.slice(7);
    if (from !== undefined && !names.includes(from)) say(line, "DL3022", `COPY: no stage above is named ${from}`);
    if (name === "COPY" && text.split(/\s+/).length > 2 && !text.endsWith("/"))
      say(line, "DL3021", "COPY: a folder with a slash, for several files");
    if (everything !== -1 && i > everything && name === "RUN" && text.includes("apt-get install"))
      say(line, "OrderOfCopy", "RUN: apt-get before COPY . , or each change of a file installs it again");
  }
}

/** What runs is nobody special. */
function lastStage({ instructions, from }, say) {
  const user = instructions.findLast(({ name }) => name === "USER");
  if (user === undefined) say(from.line, "DL3002", "the last stage: a USER other than root");
  else if (/^(root|0)(:|$)/.test(user.text)) say(user.line, "DL3002", "USER: the last one is root");
  const start = instructions.filter(({ name }) => name === "CMD");
  if (start.length > 1) say(start[1].line, "DL4003", "CMD: one, the last counts");
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const files = process.argv.length > 2 ? process.argv.slice(2) : [join(root, "Dockerfile")];
  let faults = 0;
  for (const file of files) {
    for (const { line, code, what } of lintDockerfile(readFileSync(file, "utf8"))) {
      faults++;
      console.error(`${fromRoot(file)}:${line}  ${code}  ${what}`);
    }
  }
  console.log(`Dockerfile: ${faults} findings`);
  if (faults > 0) process.exitCode = 1;
}
