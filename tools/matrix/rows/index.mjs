/** The groups of the table, in its order. */
import { rows as bundlers } from "./bundlers.mjs";
import { rows as managers } from "./managers.mjs";
import { rows as runners } from "./runners.mjs";
import { rows as runtimes } from "./runtimes.mjs";
import { rows as typescript } from "./typescript.mjs";

export const groups = [
  { title: "Runtimes", rows: runtimes },
  { title: "Package managers", rows: managers },
  { title: "TypeScript", rows: typescript },
  { title: "Bundlers", rows: bundlers },
  { title: "Test runners", rows: runners },
];
