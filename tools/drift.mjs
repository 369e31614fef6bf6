/** Generated files must be what their generator writes today. Fails with the names of those that are not. */
import { join } from "node:path";
import { PINNED_SPEC } from "../packages/native/lib/places.mjs";
import { run } from "../packages/native/lib/run.mjs";
import { root } from "./workspace.mjs";

const { libtorch } = await import("../packages/native/lib/index.mjs");
const everything = `torch==${libtorch.version}` === PINNED_SPEC;
if (!everything)
  console.log(
    `drift: declarations of operators are not checked: those in the repository come from ${PINNED_SPEC}, and this is libtorch ${libtorch.version}`,
  );
const generators = [
  [join("packages", "native", "manifest", "generate.mjs"), "--check", ...(everything ? [] : ["--tables"])],
  [join("tools", "generate-precisions.mjs"), "--check"],
  [join("tools", "matrix", "table.mjs"), "--check"],
];
let current = true;
for (const generator of generators) {
  const { status, output } = await run(process.execPath, generator, { cwd: root });
  if (output.trim() !== "") console.log(output.trim());
  current &&= status === 0;
}
console.log(
  current
    ? "drift: generated files are current"
    : "drift: generated files differ from their generator's output. Fix: npm run generate",
);
process.exitCode = current ? 0 : 1;
