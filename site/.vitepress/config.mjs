import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitepress";
import { slugOf } from "../../tools/documents.mjs";
import { BASE } from "../base.mjs";

process.env["VITE_EXTRA_EXTENSIONS"] = "jsonl"; // a file, which VitePress would take for a page

const build = (path) => fileURLToPath(new URL(`../../build/${path}`, import.meta.url));

export default defineConfig({
  title: "nbit",
  description: "Train neural networks in mixed and low precision, in TypeScript.",
  lang: "en",
  base: BASE,
  srcDir: build("site/pages"),
  srcExclude: ["public/**"],
  outDir: build("docs"),
  cacheDir: build("site/cache"),
  metaChunk: true,
  markdown: {
    anchor: { slugify: slugOf }, // documents link to headings by the names that GitHub gives them
    theme: { light: "github-light-high-contrast", dark: "github-dark" },
    toc: { level: [2, 3] },
  },
  themeConfig: {
    nav: [
      { text: "Guide", link: "/getting-started", activeMatch: "^/(?!decisions|measurements|source)" },
      { text: "Recipes", link: "/recipes" },
      { text: "Reference", link: `${BASE}reference/index.html`, target: "_self" },
    ],
    sidebar: JSON.parse(readFileSync(build("site/sidebar.json"), "utf8")),
    outline: { level: [2, 3] },
    externalLinkIcon: true,
    search: { provider: "local", options: { detailedView: true } },
    footer: { message: "Apache-2.0" },
  },
  head: [["link", { rel: "icon", href: "data:," }]],
});
