/** `llms.txt` and `llms-full.txt` (llmstxt.org): what a language model reads instead of pages. */

/** Sections that are about how nbit came to be are named, and left out of the full text. */
const LISTED_ONLY = new Set(["Decisions", "Measurements", "The project"]);

const HEAD = (home) => `# ${home.title}\n\n> ${home.summary}\n`;

/**
 * @param {{ title: string, about: string, documents: string[] }[]} sections
 * @param {{ name: string, page: string, title: string, summary: string, text: string }[]} pages
 */
export function llms(sections, pages, home, base) {
  const byName = new Map(pages.map((page) => [page.name, page]));
  const listed = sections.map(({ title, about, documents }) => {
    const lines = documents.map((name) => {
      const page = byName.get(name);
      return `- [${page.title}](${base}${page.page}.md)${page.summary === "" ? "" : `: ${page.summary}`}`;
    });
    return `## ${title === "Decisions" || title === "Measurements" ? `Optional: ${title}` : title}\n\n${about}\n\n${lines.join("\n")}\n`;
  });
  return `${HEAD(home)}\nEvery page is Markdown; all of the guides in one file: [llms-full.txt](${base}llms-full.txt).\n\n${listed.join("\n")}`;
}

/** All guides one after another, each under its address. */
export function llmsFull(sections, pages, home, base) {
  const wanted = sections.filter(({ title }) => !LISTED_ONLY.has(title)).flatMap(({ documents }) => documents);
  const byName = new Map(pages.map((page) => [page.name, page]));
  return [home.name, ...wanted]
    .map((name) => {
      const page = byName.get(name);
      return `<!-- ${base}${page.page}.md -->\n\n${page.text.trim()}\n`;
    })
    .join("\n");
}
