/** What was built holds together: links of every page lead to files and headings that are there; pages stay light. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { gzipSync } from "node:zlib";
import { filesBelow } from "../tools/workspace.mjs";

/** What a page may weigh as it travels, in kB: its HTML, scripts and styles, without pictures. */
const PAGE_KB = 400;

const idsOf = (html) => new Set([...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id));

/**
 * @param {string} out - The folder of the site.
 * @param {string} base - The path that its addresses begin with.
 * @param {readonly string[]} later - Paths that other tools write there.
 */
export function checkSite(out, base, later = []) {
  const faults = [];
  const pages = filesBelow(out, (name) => name.endsWith(".html"), [...later]).filter((file) =>
    readFileSync(file, "utf8").includes("VPContent"),
  );
  const ids = new Map();
  const weights = [];
  for (const file of pages) {
    const html = readFileSync(file, "utf8");
    const here = posix.join("/", file.slice(out.length));
    const needed = new Set([file]);
    for (const [, attribute, target] of html.matchAll(/\s(href|src|srcset)="([^"]*)"/g)) {
      if (target === "" || /^(?:[a-z][a-z\d+.-]*:|\/\/)/i.test(target)) continue;
      const [path, anchor] = target.split("#", 2);
      const clean = decodeURIComponent(path.split("?")[0]);
      if (clean.startsWith("/") && !clean.startsWith(base)) {
        faults.push(`${here}: ${target} is not below ${base}`);
        continue;
      }
      const absolute = clean.startsWith("/") ? clean.slice(base.length - 1) : posix.join(posix.dirname(here), clean);
      if (later.some((folder) => absolute.startsWith(`/${folder}/`))) continue;
      let there = clean === "" ? file : join(out, absolute);
      if (there.endsWith("/")) there = join(there, "index.html");
      if (!existsSync(there)) faults.push(`${here}: ${target} does not exist`);
      else if (/\.(?:js|css)$/.test(there)) needed.add(there);
      else if (attribute === "href" && anchor && there.endsWith(".html")) {
        if (!ids.has(there)) ids.set(there, idsOf(readFileSync(there, "utf8")));
        if (!ids.get(there).has(decodeURIComponent(anchor))) faults.push(`${here}: ${target}: no such heading`);
      }
    }
    const kb = [...needed].reduce((sum, path) => sum + gzipSync(readFileSync(path)).length, 0) / 1000;
    weights.push([kb, here]);
    if (kb > PAGE_KB) faults.push(`${here} weighs ${kb.toFixed(0)} kB, of ${PAGE_KB}`);
  }
  weights.sort(([a], [b]) => b - a);
  const total = filesBelow(out, () => true, [...later]).reduce((sum, file) => sum + statSync(file).size, 0);
  return { faults, pages: pages.length, heaviest: weights[0], median: weights[weights.length >> 1], total };
}
