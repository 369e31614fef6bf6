import assert from "node:assert/strict";
import { test } from "node:test";
import { documents } from "../tools/documents.mjs";
import { llms, llmsFull } from "./llms.mjs";
import { pageOf, placed } from "./pages.mjs";
import { home, relinked, summaryOf, titleOf } from "./stage.mjs";

const sections = [
  { title: "One", about: "First.", pages: ["docs/a.md", "docs/b.md"] },
  { title: "Two", about: "Second.", pages: ["docs/more/README.md", "docs/more/*"], folded: true },
];
const all = ["README.md", "docs/a.md", "docs/b.md", "docs/more/1.md", "docs/more/2.md", "docs/more/README.md"];

test("every document has one place", () => {
  assert.deepEqual(placed(documents()).faults, []);
  assert.deepEqual(placed(all, sections), {
    sections: [
      { title: "One", about: "First.", folded: false, documents: ["docs/a.md", "docs/b.md"] },
      {
        title: "Two",
        about: "Second.",
        folded: true,
        documents: ["docs/more/README.md", "docs/more/1.md", "docs/more/2.md"],
      },
    ],
    faults: [],
  });
});

test("a document without a place, a place without a document, and two places are found", () => {
  const twice = [...sections, { title: "Three", about: "", pages: ["docs/a.md"] }];
  const names = [
    ...all.filter((name) => name !== "docs/b.md"),
    "docs/c.md",
    "docs/api/torch.md",
    "packages/a/README.md",
  ];
  assert.deepEqual(placed(names, twice).faults, [
    'site/pages.mjs: docs/b.md, in "One", does not exist',
    'site/pages.mjs: docs/a.md stands in "Three" and elsewhere',
    "docs/c.md has no place in site/pages.mjs",
  ]);
});

test("addresses of pages", () => {
  assert.deepEqual(
    [
      "README.md",
      "docs/gpu.md",
      "docs/decisions/README.md",
      "benchmarks/results/x.md",
      "examples/README.md",
      "CHANGELOG.md",
    ].map(pageOf),
    ["index", "gpu", "decisions/index", "measurements/x", "examples/index", "changelog"],
  );
});

test("links are rewritten outside of code alone, in Markdown and in HTML", () => {
  const seen = [];
  const place = (file) => {
    seen.push(file);
    return `/${file}!`;
  };
  const text = [
    "[a](b.md#c), [d](../e.ts), [x](https://x.org/b.md), [f](#g), `[no](b.md)`",
    "```md",
    "[no](b.md)",
    "```",
    '<img src="p.png"> [h](b.md)',
  ].join("\n");
  assert.equal(
    relinked("docs/a.md", text, place),
    [
      "[a](/docs/b.md!#c), [d](/e.ts!), [x](https://x.org/b.md), [f](#g), `[no](b.md)`",
      "```md",
      "[no](b.md)",
      "```",
      '<img src="/docs/p.png!"> [h](/docs/b.md!)',
    ].join("\n"),
  );
  assert.deepEqual(seen, ["docs/b.md", "e.ts", "docs/p.png", "docs/b.md"]);
});

test("what a page is about is its first sentence", () => {
  const text = "# A `b`\n\n| no |\n|---|\n\nThe [first](x.md) *one* of `2.13`. The second.\n\nMore.\n";
  assert.equal(titleOf(text), "A b");
  assert.equal(summaryOf(text), "The first one of 2.13.");
  assert.equal(summaryOf("# A\n"), "");
});

test("llms.txt lists pages by section; the full text has the guides, and no records", () => {
  const page = (name, title) => ({ name, page: pageOf(name), title, summary: `About ${title}.`, text: `# ${title}\n` });
  const pages = [page("README.md", "nbit"), page("docs/a.md", "A"), page("docs/b.md", "B")];
  const listed = [
    { title: "Start", about: "First.", documents: ["docs/a.md"] },
    { title: "Decisions", about: "Why.", documents: ["docs/b.md"] },
  ];
  const text = llms(listed, pages, pages[0], "/x/");
  assert.match(text, /^# nbit\n\n> About nbit\.\n/);
  assert.match(text, /## Start\n\nFirst\.\n\n- \[A\]\(\/x\/a\.md\): About A\.\n/);
  assert.match(text, /- \[B\]\(\/x\/b\.md\)/);
  assert.equal(llmsFull(listed, pages, pages[0], "/x/"), "<!-- /x/index.md -->\n\n# nbit\n\n<!-- /x/a.md -->\n\n# A\n");
});

test("the first page is the README without what its head and the sidebar say", () => {
  const text =
    "# a\n\nTrains.\nAnd more.\n\n## Use\n\nIt.\n\n## Documentation\n\n- [a](a.md)\n\n| package |\n|---|\n| b |\n";
  const [, head, body] = home(text).split(/^---$/m);
  assert.match(head, /^description: "Trains\."$/m);
  assert.equal(body.trimStart(), "## Use\n\nIt.\n\n## Packages\n\n| package |\n|---|\n| b |\n");
});
