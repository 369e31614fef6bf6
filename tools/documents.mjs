/**
 * What the repository's Markdown says of the repository is true: links and pictures lead to files and headings that
 * exist, and so do paths in backticks; every guide has its place in the site. Packages' own READMEs, which are read elsewhere, link to nothing outside of
 * their package.
 */
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { placed } from "../site/pages.mjs";
import { filesBelow, fromRoot, root } from "./workspace.mjs";

/** Every Markdown file, from the root. */
export function documents() {
  return filesBelow(root, (name) => name.endsWith(".md"), [
    "node_modules",
    "dist",
    "build",
    "fixtures",
    "runs",
    "lightning_logs",
    "nbit_logs",
  ]).map((file) => fromRoot(file).split(sep).join("/"));
}

/** Links and pictures in Markdown and HTML: the target is the first group that matched. */
export const LINKS = /\]\(\s*<?([^)>\s]+)>?(?:\s+"[^"]*")?\s*\)|\b(?:src|srcset|href)="([^"]+)"|^\[[^\]]+\]:\s*(\S+)/gm;

const withoutBlocks = (text) => text.replace(/^(```+)[^\n]*\n.*?^\1`*$/gms, (block) => block.replace(/[^\n]/g, " "));
/** The same text, of the same length, with code blanked. */
export const withoutCode = (text) => withoutBlocks(text).replace(/`[^`\n]*`/g, (code) => " ".repeat(code.length));
const lineOf = (text, index) => text.slice(0, index).split("\n").length;

/** The anchor that GitHub gives a heading of this text. */
export const slugOf = (plain) =>
  plain
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-");

/** Anchors of a document's headings, as GitHub makes them. */
export function anchorsOf(text) {
  const seen = new Map();
  return [...withoutBlocks(text).matchAll(/^#{1,6} +(.+?) *#*$/gm)].map(([, heading]) => {
    const anchor = slugOf(heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[`*]/g, ""));
    const times = seen.get(anchor) ?? 0;
    seen.set(anchor, times + 1);
    return times === 0 ? anchor : `${anchor}-${times}`;
  });
}

/**
 * Links and pictures of a document that lead nowhere: `[line, what]`. `base` is the folder that paths of the repository
 * begin at.
 */
export function deadLinks(name, text, base = root) {
  const found = [];
  const own = /^packages\/[^/]+\//.exec(name)?.[0];
  for (const match of withoutCode(text).matchAll(LINKS)) {
    const target = match[1] ?? match[2] ?? match[3] ?? "";
    if (/^[a-z][a-z\d+.-]*:/i.test(target)) continue; // elsewhere
    const [path, anchor] = target.split("#", 2);
    const file = path === "" ? join(base, name) : join(base, dirname(name), decodeURIComponent(path));
    const line = lineOf(text, match.index);
    const from = relative(base, file).split(sep).join("/");
    if (own !== undefined && !from.startsWith(own)) found.push([line, `${target} leads out of the package`]);
    else if (!existsSync(file)) found.push([line, `${target} does not exist`]);
    else if (
      anchor !== undefined &&
      anchor !== "" &&
      file.endsWith(".md") &&
      !anchorsOf(readFileSync(file, "utf8")).includes(anchor)
    )
      found.push([line, `${target}: no such heading`]);
  }
  return found;
}

const PLACE = /^(?:packages|examples|benchmarks|tests|docs|tools|\.ci)\/[\w@./{},*-]+$/;

/** `a/{b,c}/d` → `a/b/d`, `a/c/d`. */
function spread(path) {
  const braces = /\{([^{}]*)\}/.exec(path);
  return braces === null ? [path] : braces[1].split(",").flatMap((part) => spread(path.replace(braces[0], part)));
}

/** Whether a path exists below a folder; a `*` stands for any part of one name. */
function exists(folder, [part, ...rest]) {
  if (part === undefined) return true;
  if (!part.includes("*"))
    return (
      existsSync(join(folder, part)) &&
      (rest.length === 0 || (statSync(join(folder, part)).isDirectory() && exists(join(folder, part), rest)))
    );
  const pattern = new RegExp(
    `^${part
      .split("*")
      .map((text) => text.replace(/[.+?^${}()|[\]\\]/g, "\\$&"))
      .join(".*")}$`,
  );
  return readdirSync(folder).some((name) => pattern.test(name) && exists(folder, [name, ...rest]));
}

/**
 * Paths of the repository in backticks that do not exist: `[line, path]`. What set-up makes (`dist`, `build`) is not
 * looked for.
 */
export function missingPaths(text, base = root) {
  const found = [];
  const prose = withoutBlocks(text);
  for (const match of prose.matchAll(/`([^`\n]+)`/g)) {
    const place = match[1];
    if (!PLACE.test(place) || /(?:^|\/)(?:dist|build|node_modules)(?:\/|$)/.test(place)) continue;
    for (const path of spread(place))
      if (
        !exists(
          base,
          path.split("/").filter((part) => part !== ""),
        )
      )
        found.push([lineOf(prose, match.index), path]);
  }
  return found;
}

/** All that is wrong in all documents, as `name:line  what`. */
export function faults() {
  const all = documents();
  const wrong = all.flatMap((name) => {
    const text = readFileSync(join(root, name), "utf8");
    const paths =
      name === "CONTRIBUTING.md" || /^docs\/(?!api\/)/.test(name)
        ? missingPaths(text).map(([line, path]) => [line, `${path} does not exist`])
        : [];
    return [...deadLinks(name, text), ...paths].map(([line, what]) => `${name}:${line}  ${what}`);
  });
  return [...wrong, ...placed(all).faults];
}

function main() {
  const found = faults();
  for (const line of found) console.error(line);
  const count = documents().length;
  console.log(`documents: ${count} files, ${found.length} faults`);
  if (found.length > 0 || count === 0) process.exitCode = 1;
}

if (process.argv[1] === join(root, "tools", "documents.mjs")) main();
