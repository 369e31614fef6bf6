/**
 * Documents of the repository as pages of the site: links lead to pages instead of files, source files that a document
 * links to become pages, pictures and data are carried along. What it writes is VitePress's input and nobody else's.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, extname, join, posix } from "node:path";
import { LINKS, anchorsOf, withoutCode } from "../tools/documents.mjs";
import { root } from "../tools/workspace.mjs";
import { HOME, pageOf } from "./pages.mjs";

/** Files that are shown as they are, by their ending: what a reader's browser opens itself, and data. */
const RAW = new Set([".png", ".svg", ".html", ".json", ".jsonl"]);
const LANGUAGES = { ".ts": "ts", ".mts": "ts", ".mjs": "js", ".py": "python", ".sh": "sh", ".yaml": "yaml" };

export const titleOf = (text) => (/^# +(.+)$/m.exec(text)?.[1] ?? "").replace(/`/g, "");

/** The first sentence of a document's first paragraph, without Markdown. */
export function summaryOf(text) {
  const paragraph = text
    .replace(/^# .*$/m, "")
    .split(/\n\s*\n/)
    .map((part) => part.trim())
    .find((part) => /^[\p{L}`*[]/u.test(part));
  if (paragraph === undefined) return "";
  const plain = paragraph
    .replace(/\s+/g, " ")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/[`*]/g, "");
  return /^.*?[.](?= |$)/.exec(plain)?.[0] ?? plain;
}

/**
 * A document's text with its links rewritten. `place` says where a file of the repository is in the site.
 * @param {(file: string, kind: "link" | "picture") => string} place
 */
export function relinked(name, text, place) {
  let out = "";
  let from = 0;
  for (const match of withoutCode(text).matchAll(LINKS)) {
    const target = match[1] ?? match[2] ?? match[3] ?? "";
    if (target === "" || /^[a-z][a-z\d+.-]*:/i.test(target) || target.startsWith("#")) continue;
    const [path, anchor] = target.split("#", 2);
    const file = posix.normalize(posix.join(posix.dirname(name), decodeURIComponent(path)));
    const at = match.index + match[0].lastIndexOf(target);
    const there = place(file) + (anchor === undefined ? "" : `#${anchor}`);
    out += text.slice(from, at) + there;
    from = at + target.length;
  }
  return out + text.slice(from);
}

/** The page of a source file. */
function sourcePage(file) {
  const text = readFileSync(join(root, file), "utf8").trimEnd();
  const about = /^\/\*\*\s*(.*?)\s*\*\//s.exec(text)?.[1]?.replace(/\s*\n \*\s*/g, " ") ?? "";
  const fence = "`".repeat(Math.max(3, ...[...text.matchAll(/`{3,}/g)].map(([run]) => run.length + 1)));
  const language = LANGUAGES[extname(file)] ?? "text";
  return `# ${posix.basename(file)}\n\nThe file \`${file}\`.\n\n${fence}${language}\n${text}\n${fence}\n`.replace(
    /^/,
    frontmatter({
      title: posix.basename(file),
      description: about,
      aside: false,
      search: false,
      prev: false,
      next: false,
    }),
  );
}

/** A picture for light and one for dark: the reader's system chooses on GitHub, and a switch of the page's here. */
const pictures = (text) =>
  text.replace(
    /<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">\s*<img ((?:[^>"]|"[^"]*")*?)src="([^"]+)">\s*<\/picture>/g,
    '<div class="picture"><img class="in-light" $2src="$3"><img class="in-dark" $2src="$1"></div>',
  );

const frontmatter = (fields) =>
  `---\n${Object.entries(fields)
    .map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
    .join("\n")}\n---\n\n`;

/** The README as the first page: its title and first paragraph stand in the head, its list of documents in the sidebar. */
export function home(text) {
  const body = text.replace(/^# .*\n+(?:[^\n]+\n)+/, "").replace(/^## Documentation\n[^|]*(?=^\|)/m, "## Packages\n\n");
  return (
    frontmatter({
      layout: "home",
      title: "nbit",
      titleTemplate: "mixed and low precision training in TypeScript",
      description: summaryOf(text),
      hero: {
        name: "nbit",
        text: "Neural networks in mixed and low precision",
        tagline:
          "In TypeScript, on libtorch: PyTorch's operators and numbers, Lightning's Trainer, and float32, bfloat16, float16 and float8 as one option.",
        image: {
          light: "/pictures/memory-light.svg",
          dark: "/pictures/memory-dark.svg",
          alt: "Memory of a training step of GPT-2 by precision: 10.6 GiB in float32, 5.7 in bf16, 4.2 in bf16-true",
        },
        actions: [
          { theme: "brand", text: "Get started", link: "/getting-started" },
          { theme: "alt", text: "Recipes", link: "/recipes" },
          { theme: "alt", text: "From PyTorch and Lightning", link: "/compatibility" },
        ],
      },
    }) + body
  );
}

/**
 * Writes the pages of `documents` and all they link to into `folder`.
 * @param {readonly string[]} documents - The documents that have a place, and the first page.
 * @returns {{ pages: { name: string, page: string, title: string, summary: string, text: string }[], faults: string[] }}
 * `text` is Markdown with the site's links.
 */
export function stage(documents, folder) {
  rmSync(folder, { recursive: true, force: true });
  const known = new Set(documents);
  const sources = new Set();
  const raw = new Set();
  const faults = [];
  const pages = documents.map((name) => {
    const text = readFileSync(join(root, name), "utf8");
    const place = (file) => {
      if (known.has(file)) return `/${pageOf(file)}.md`;
      if (!existsSync(join(root, file)) || file.endsWith(".md")) {
        faults.push(`${name}: ${file} is no page of the site`);
        return file;
      }
      if (RAW.has(extname(file))) {
        raw.add(file);
        return `/${rawPath(file)}`;
      }
      sources.add(file);
      return `/source/${file}.md`;
    };
    return {
      name,
      page: pageOf(name),
      title: titleOf(text),
      summary: summaryOf(text),
      text: relinked(name, text, place),
    };
  });
  for (const { name, page, text, summary } of pages)
    write(
      join(folder, `${page}.md`),
      pictures(
        name === HOME
          ? home(text)
          : frontmatter({ description: summary, ...(wide(text) ? { aside: false } : {}) }) + text,
      ),
    );
  for (const file of sources) write(join(folder, "source", `${file}.md`), sourcePage(file));
  for (const file of raw) {
    const to = join(folder, "public", rawPath(file));
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(join(root, file), to);
  }
  return { pages, faults };
}

const rawPath = (file) => file.replace(/^docs\//, "").replace(/^benchmarks\/results\//, "measurements/");

/** Pages that are one large table need the place where the list of their few headings would be. */
const wide = (text) => anchorsOf(text).length <= 2;

function write(file, text) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
