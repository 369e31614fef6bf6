/** The files that `COPY . .` sees: those of the checkout that git does not ignore, less what .dockerignore names. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * @param {string} folder With the .dockerignore.
 * @returns {string[]} Relative to it.
 */
export function contextFiles(folder) {
  const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const listed = execFileSync("git", args, { cwd: folder, encoding: "utf8", maxBuffer: 1 << 28 });
  const ignored = ignoredBy(readFileSync(join(folder, ".dockerignore"), "utf8"));
  return listed.split("\0").filter((name) => name !== "" && !ignored(name) && existsSync(join(folder, name)));
}

/**
 * @param {string} text Of a .dockerignore.
 * @returns {(path: string) => boolean}
 */
export function ignoredBy(text) {
  const rules = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => ({
      keeps: line.startsWith("!"),
      pattern: patternOf(line.replace(/^!/, "").replace(/^\/|\/$/g, "")),
    }));
  // The last rule that matches a path, or a folder that it is in, counts.
  return (path) => {
    const rule = rules.findLast(({ pattern }) => pattern.test(path));
    return rule !== undefined && !rule.keeps;
  };
}

function patternOf(glob) {
  const source = glob
    .split(/(\*\*\/|\*\*|\*|\?)/)
    .map(
      (part) =>
        ({ "**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]" })[part] ??
        part.replace(/[.+^${}()|[\]\\]/g, "\\$&"),
    )
    .join("");
  return new RegExp(`^${source}(?:/|$)`);
}
