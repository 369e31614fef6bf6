/**
 * Where every page stands: sections of the site in reading order, with documents by their path in the repository. A
 * document of `docs` that is in no section is a fault, and so is a place whose document does not exist.
 */

/**
 * `pages` end with `*` for all documents of a folder, by name, and with `?` where a document is still to be written. `about` introduces the section in `llms.txt`; `folded`
 * sections open when one looks for them.
 * @type {readonly { title: string, about: string, pages: readonly string[], folded?: boolean }[]}
 */
export const SECTIONS = [
  {
    title: "Start",
    about: "From nothing to a trained model, and what is called how for those who know PyTorch and Lightning.",
    pages: ["docs/getting-started.md", "docs/recipes.md", "docs/compatibility.md", "examples/README.md"],
  },
  {
    title: "The daily path",
    about: "Data in, training from a shell or a program, what a run writes, and what goes on from it.",
    pages: [
      "docs/data.md",
      "docs/trainer-options.md",
      "docs/cli.md",
      "docs/callbacks.md",
      "docs/checkpoints.md",
      "docs/logging.md",
      "docs/metrics.md",
      "docs/run-log.md",
      "docs/files.md",
      "docs/distributions.md",
    ],
  },
  {
    title: "Precision",
    about: "Which numbers a run computes with, what that costs, and what to do when losses turn into NaN.",
    pages: ["docs/precision-guide.md", "docs/autocast.md"],
  },
  {
    title: "Low bit",
    about: "float8 training, 4-bit weights, and optimizers with state in few bits.",
    pages: ["docs/low-bit.md", "docs/low-bit-optimizers.md", "docs/low-bit-gpu.md"],
  },
  {
    title: "Memory and speed",
    about: "GPUs, what memory is taken and freed when, recorded steps and CUDA graphs, profiling.",
    pages: ["docs/gpu.md", "docs/memory-model.md", "docs/recorded-steps.md", "docs/profiling.md", "docs/speed.md"],
  },
  {
    title: "Several processes",
    about: "Data-parallel and sharded training on several devices and machines.",
    pages: [
      "docs/distributed.md",
      "docs/launching.md",
      "docs/distributed-data-and-metrics.md",
      "docs/fsdp.md",
      "docs/distributed-checkpoints.md",
      "docs/distributed-failures.md",
    ],
  },
  { title: "TPUs", about: "Whole steps compiled by XLA.", pages: ["docs/tpu.md", "docs/xla.md"] },
  {
    title: "Deploying",
    about: "Where things lie, what a server or an image needs, and on what nbit was tried.",
    pages: ["docs/deploying.md", "docs/lifecycle.md", "docs/platforms.md", "docs/support.md"],
  },
  {
    title: "Troubleshooting",
    about: "Every error has a code; what each means, and what to do.",
    pages: [
      "docs/set-up.md",
      "docs/errors.md",
      "docs/errors/setup.md",
      "docs/errors/cli.md",
      "docs/errors/trainer.md",
      "docs/errors/precision.md",
      "docs/errors/tensors.md",
      "docs/errors/*",
    ],
  },
  {
    title: "Reference",
    about: "Every name of PyTorch's and Lightning's, and where it is here.",
    pages: ["docs/names.md", "docs/names-lightning.md", "docs/programs.md", "CHANGELOG.md"],
  },
  {
    title: "Decisions",
    about: "Why things are as they are: one record per subject.",
    pages: ["docs/decisions/README.md", "docs/decisions/*"],
    folded: true,
  },
  {
    title: "Measurements",
    about: "What was measured, on what, with every row.",
    pages: ["benchmarks/results/measurements.md", "benchmarks/results/*"],
    folded: true,
  },
  { title: "The project", about: "How to change nbit.", pages: ["CONTRIBUTING.md"], folded: true },
];

/** The first page of the site, which is in no section. */
export const HOME = "README.md";

/** Reports of public types for reviews, what npm shows of a package, notes beside sources: read elsewhere. */
const ELSEWHERE = /^(?:docs\/api|packages|tests|tools|site)\//;

/**
 * The sections with their documents, each of which stands in one place, and what is wrong with them.
 * @param {readonly string[]} documents - Markdown files, from the root.
 * @returns {{ sections: { title: string, about: string, folded: boolean, documents: string[] }[], faults: string[] }}
 */
export function placed(documents, sections = SECTIONS) {
  const named = new Set(sections.flatMap(({ pages }) => pages.map((page) => page.replace(/\?$/, ""))));
  const faults = [];
  const seen = new Set([HOME]);
  const found = sections.map(({ title, about, pages, folded = false }) => ({
    title,
    about,
    folded,
    documents: pages.flatMap((entry) => {
      const page = entry.replace(/\?$/, "");
      if (page.endsWith("/*")) {
        const folder = page.slice(0, -1);
        return documents.filter(
          (name) => name.startsWith(folder) && !name.slice(folder.length).includes("/") && !named.has(name),
        );
      }
      if (documents.includes(page)) return [page];
      if (page === entry) faults.push(`site/pages.mjs: ${page}, in "${title}", does not exist`);
      return [];
    }),
  }));
  for (const { title, documents: own } of found)
    for (const name of own) {
      if (seen.has(name)) faults.push(`site/pages.mjs: ${name} stands in "${title}" and elsewhere`);
      seen.add(name);
    }
  for (const name of documents)
    if (!seen.has(name) && !ELSEWHERE.test(name)) faults.push(`${name} has no place in site/pages.mjs`);
  return { sections: found, faults };
}

/** A document's page: its path in the site, without `.md`. */
export function pageOf(name) {
  if (name === HOME) return "index";
  const path = name
    .replace(/\.md$/, "")
    .replace(/^docs\//, "")
    .replace(/^benchmarks\/results\//, "measurements/");
  if (path === "CONTRIBUTING" || path === "CHANGELOG") return path.toLowerCase();
  return path.replace(/(^|\/)README$/, "$1index");
}
