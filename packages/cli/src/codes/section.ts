/** What is said of a code: in a terminal, and as a section of the documentation. */
import { SITE } from "@nbit/native/help";
import { wrap } from "../help/text.js";
import type { Code, Family } from "./family.js";

const packageName = (folder: string): string => (folder === "cli" ? "nbit" : `@nbit/${folder}`);
const classOf = (row: Code, family: Family): string => row.by ?? family.by;
const packagesOf = (row: Code, family: Family): string[] => (row.in ?? family.in).map(packageName);

/** Lines for a terminal of so many columns. */
export function sectionText(code: string, family: Family, row: Code, width: number): string {
  const part = (title: string, text: string): string[] => ["", title, ...wrap(plain(text), width, 2)];
  return [
    `${code}: ${classOf(row, family)} of ${packagesOf(row, family).join(", ")}`,
    "",
    ...wrap(plain(row.means), width),
    ...part("Typical cause", row.cause),
    ...part("What to do", row.fix),
    ...(row.example === undefined
      ? []
      : ["", "This raises it", ...row.example.split("\n").map((line) => `  ${line}`.trimEnd())]),
    ...(SITE === "" ? [] : ["", `${SITE}${pageOf(family)}.html#${code.toLowerCase()}`]),
  ].join("\n");
}

const pageOf = ({ name }: Family): string => `errors/${name}`;

/** Links of Markdown, as a terminal shows them. */
const plain = (text: string): string => text.replace(/\[[^\]]+\]\(\.\.\/([^)]+)\)/g, "docs/$1");

/** The page of a family, in Markdown. */
export function pageText(family: Family): string {
  const rows = Object.entries(family.codes);
  return [
    `# ${family.title}: what their codes mean`,
    "",
    "<!-- Written by tools/codes.mjs from packages/cli/src/codes/table; do not edit. -->",
    "",
    `${family.brief} All codes: [errors.md](../errors.md).`,
    ...rows.flatMap(([code, row]) => [
      "",
      `## ${code}`,
      "",
      `\`${classOf(row, family)}\` of ${packagesOf(row, family)
        .map((name) => `\`${name}\``)
        .join(", ")}. ${row.means}`,
      "",
      `- **Typical cause:** ${row.cause}`,
      `- **What to do:** ${row.fix}`,
      ...(row.example === undefined ? [] : ["", "This raises it:", "", "```ts raises", row.example, "```"]),
    ]),
    "",
  ].join("\n");
}

/** The page that lists all codes. */
export function indexText(families: readonly Family[]): string {
  const count = families.reduce((sum, { codes }) => sum + Object.keys(codes).length, 0);
  return [
    "# Errors by code",
    "",
    "<!-- Written by tools/codes.mjs from packages/cli/src/codes/table; do not edit. -->",
    "",
    "Every error and warning of nbit has a class and a stable `code`. What an error says (the argument, what was expected,",
    "what was received, what to do) is in its message; what a code means, what usually leads to it and what to do is here, and",
    "in the terminal without network:",
    "",
    "```sh",
    "npx nbit explain-error ERR_LOSS_GRAPH",
    "npx nbit explain-error # lists all of them",
    "```",
    "",
    "An error that nobody catches shows that command below its stack; `error.help` is the same text. Programs tell errors",
    "apart by `error.code`, which does not change where messages do.",
    "",
    `There are ${count} codes.`,
    ...families.flatMap((family) => [
      "",
      `## ${family.title}`,
      "",
      `${family.brief} [Their page](${pageOf(family)}.md).`,
      "",
      Object.keys(family.codes)
        .map((code) => `<a id="${code.toLowerCase()}"></a>[${code}](${pageOf(family)}.md#${code.toLowerCase()})`)
        .join(" · "),
    ]),
    "",
  ].join("\n");
}
