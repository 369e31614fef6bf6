/**
 * The reference of the public packages, with the guides beside it, in `build/docs`: `npm run docs`. A link in a
 * docstring or in a document that leads nowhere fails it. It reads the compiled declarations, which are what users see.
 */
import { join } from "node:path";
import { Application } from "typedoc";
import { entriesOf, programOf, publicPackages } from "./api.mjs";
import { documents, faults } from "./documents.mjs";
import { fromRoot, root } from "./workspace.mjs";

const dead = faults();
for (const line of dead) console.error(line);

const entries = publicPackages().flatMap((workspace) => entriesOf(workspace));
const names = new Map(entries.map(([name, file]) => [fromRoot(file), name]));
const files = [...names.keys()].map((file) => join(root, file));
const app = await Application.bootstrap({
  name: "nbit",
  entryPoints: files,
  readme: join(root, "README.md"),
  projectDocuments: documents()
    .filter((name) => name !== "README.md" && !/^(?:docs\/api|packages)\//.test(name))
    .map((name) => join(root, name)),
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
const out = join(root, "build", "docs");
if (!app.logger.hasErrors() && !app.logger.hasWarnings()) await app.generateDocs(project, out);

const count = dead.length + app.logger.errorCount + app.logger.warningCount;
console.log(`docs: ${modules.length} entries, ${count} faults${count === 0 ? `: ${fromRoot(out)}/index.html` : ""}`);
if (count > 0 || modules.length !== entries.length) process.exitCode = 1;
