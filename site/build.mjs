/**
 * The site, in `build/docs`: `npm run docs`; `npm run docs -- --serve` also shows it. Pages are the documents of the
 * repository; no network is needed but for VitePress itself, the first time.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { documents, faults as faultsOfDocuments } from "../tools/documents.mjs";
import { fromRoot, root } from "../tools/workspace.mjs";
import { BASE } from "./base.mjs";
import { checkSite } from "./check.mjs";
import { llms, llmsFull } from "./llms.mjs";
import { HOME, placed } from "./pages.mjs";
import { stage } from "./stage.mjs";

const here = join(root, "site");
export const PAGES = join(root, "build", "site", "pages");
export const OUT = join(root, "build", "docs");
/** Written by `tools/docs.mjs`, into the same folder. */
const LATER = ["reference"];

/** VitePress has packages of its own, which nobody needs who does not build the site. */
function install() {
  const lock = readFileSync(join(here, "package-lock.json"));
  const stamp = join(here, "node_modules", ".nbit-installed");
  const wanted = createHash("sha256").update(lock).digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  console.log("docs: fetching VitePress (25 MB), once");
  execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--loglevel=error"], {
    cwd: here,
    stdio: "inherit",
  });
  writeFileSync(stamp, wanted);
}

function fail(lines) {
  for (const line of lines) console.error(line);
  console.error(`docs: ${lines.length} faults`);
  process.exit(1);
}

install();
const began = performance.now();
const wrong = faultsOfDocuments();
if (wrong.length > 0) fail(wrong);
const { sections } = placed(documents());
const { pages, faults } = stage([HOME, ...sections.flatMap((section) => section.documents)], PAGES);
if (faults.length > 0) fail(faults);

const title = new Map(pages.map((page) => [page.name, page]));
const sidebar = sections.map((section) => ({
  text: section.title,
  collapsed: section.folded,
  items: section.documents.map((name) => ({
    text: title.get(name).title.replace(/:.*/, ""),
    link: `/${title.get(name).page}`,
  })),
}));
mkdirSync(join(root, "build", "site"), { recursive: true });
writeFileSync(join(root, "build", "site", "sidebar.json"), JSON.stringify(sidebar));

const first = pages.find((page) => page.name === HOME);
mkdirSync(join(PAGES, "public"), { recursive: true });
writeFileSync(join(PAGES, "public", "llms.txt"), llms(sections, pages, first, BASE));
writeFileSync(join(PAGES, "public", "llms-full.txt"), llmsFull(sections, pages, first, BASE));
for (const { page, text } of pages) {
  const file = join(PAGES, "public", `${page}.md`);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, text);
}

// VitePress empties its folder; what the reference's tool has written there comes back.
const kept = LATER.map((name) => [join(OUT, name), join(root, "build", "site", name)]).filter(([from]) =>
  existsSync(from),
);
for (const [from, to] of kept) {
  rmSync(to, { recursive: true, force: true });
  renameSync(from, to);
}
const { build, serve } = await import("./vitepress.mjs");
await build(here);
for (const [from, to] of kept) renameSync(to, from);
const built = checkSite(OUT, BASE, LATER);
if (built.faults.length > 0) fail(built.faults);
const [kb, page] = built.heaviest;
console.log(
  `docs: ${built.pages} pages, ${(built.total / 1e6).toFixed(0)} MB, ${((performance.now() - began) / 1000).toFixed(0)} s; ` +
    `a page weighs ${built.median[0].toFixed(0)} kB, ${page} ${kb.toFixed(0)} kB: ${fromRoot(OUT)}/index.html`,
);
if (process.argv.includes("--serve")) await serve({ root: here, port: 4173 });
