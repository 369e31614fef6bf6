/**
 * The reference of the public packages, in `build/docs/reference`, beside the guides: `npm run docs`. A link in a
 * docstring that leads nowhere fails it. It reads the compiled declarations, which are what users see.
 */
import { join } from "node:path";
import { Application } from "typedoc";
import { entriesOf, programOf, publicPackages } from "./api.mjs";
import { BASE } from "../site/base.mjs";
import { fromRoot, root } from "./workspace.mjs";

const entries = publicPackages().flatMap((workspace) => entriesOf(workspace));
const names = new Map(entries.map(([name, file]) => [fromRoot(file), name]));
const files = [...names.keys()].map((file) => join(root, file));
const app = await Application.bootstrap({
  name: "nbit",
  entryPoints: files,
  readme: "none",
  navigationLinks: { Guides: `${BASE}getting-started.html` },
  skipErrorChecking: true, // tsc has looked
  disableSources: true,
  excludePrivate: true,
  excludeInternal: true,
  includeVersion: false,
  validation: {
    invalidLink: true,
    invalidPath: true,
    notExported: false,
    rewrittenLink: true,
    unusedMergeModuleWith: true,
  },
  treatWarningsAsErrors: true,
  logLevel: "Warn",
});
app.options.setCompilerOptions(files, programOf([]).getCompilerOptions(), []);
const modules = app.getEntryPoints() ?? [];
for (const module of modules)
  module.displayName = names.get(fromRoot(module.sourceFile?.fileName ?? "")) ?? module.displayName;
const project = app.converter.convert(modules);
app.validate(project);
const out = join(root, "build", "docs", "reference");
if (!app.logger.hasErrors() && !app.logger.hasWarnings()) await app.generateDocs(project, out);

const count = app.logger.errorCount + app.logger.warningCount;
console.log(`docs: ${modules.length} entries, ${count} faults${count === 0 ? `: ${fromRoot(out)}/index.html` : ""}`);
if (count > 0 || modules.length !== entries.length) process.exitCode = 1;
