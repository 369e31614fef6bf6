/**
 * The public types of every package as text, in `docs/api`, so that a change of them shows in a diff: `npm run api`
 * writes the reports, `npm run drift` (`--check`) fails where they are not what the compiled declarations say. A report
 * has every export of every entry in `package.json`, sorted by name, without comments and private members; then the
 * types that these mention and that no entry exports. What is tagged `@internal` is left out.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import ts from "typescript";
import { fromRoot, root, workspaces } from "./workspace.mjs";

const FOLDER = join(root, "docs", "api");
const printer = ts.createPrinter({ removeComments: true, newLine: ts.NewLineKind.LineFeed });

/** Entries of a package with their declarations, absolute: `[["@nbit/torch", "…/index.d.ts"], …]`. */
export function entriesOf({ name, folder, manifest }) {
  return Object.entries(manifest.exports ?? {}).map(([entry, { types }]) => [
    name + entry.slice(1),
    join(folder, types),
  ]);
}

/** The packages that are published, and what they export. */
export function publicPackages() {
  return workspaces().filter(({ folder }) => fromRoot(folder).startsWith(`packages${sep}`));
}

/** A program over declarations, as a user's project sees them. */
export function programOf(files) {
  return ts.createProgram(files, {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
    types: ["node"],
    strict: true,
    skipLibCheck: true,
  });
}

const isInternal = (node) => ts.getJSDocTags(node).some(({ tagName }) => tagName.text === "internal");
const isPrivate = (member) =>
  (ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Private) !== 0 ||
  (member.name !== undefined && ts.isPrivateIdentifier(member.name));

/** A declaration without what users cannot reach. */
function visible(node) {
  const { factory } = ts;
  const members = node.members?.filter((member) => !isPrivate(member) && !isInternal(member));
  if (ts.isClassDeclaration(node))
    return factory.updateClassDeclaration(
      node,
      node.modifiers,
      node.name,
      node.typeParameters,
      node.heritageClauses,
      members,
    );
  if (ts.isInterfaceDeclaration(node))
    return factory.updateInterfaceDeclaration(
      node,
      node.modifiers,
      node.name,
      node.typeParameters,
      node.heritageClauses,
      members,
    );
  return node;
}

/** A declaration as text: a line for each member of a class or interface, and for each function. */
function textOf(node, file) {
  const print = (part) => printer.printNode(ts.EmitHint.Unspecified, part, file);
  const line = (part) => print(part).replace(/\s+/g, " ");
  if (ts.isVariableDeclaration(node)) return `const ${line(node)};`;
  if (ts.isFunctionDeclaration(node)) return plain(line(node));
  if (!ts.isClassDeclaration(node) && !ts.isInterfaceDeclaration(node)) return plain(print(node));
  const whole = print(node);
  const head = whole.slice(
    0,
    whole.indexOf("{\n", node.heritageClauses === undefined ? 0 : whole.search(/\b(?:extends|implements)\b/)) + 1,
  );
  return [plain(head), ...node.members.map((member) => `  ${line(member)}`), "}"].join("\n");
}

const plain = (text) => text.replace(/^(?:export )?(?:default )?(?:declare )?/, "");

class Report {
  #checker;
  #folder;
  /** Symbol → where its text stands: the name of the first entry that exports it, or null for what none exports. */
  #placed = new Map();
  #mentioned = [];

  constructor(checker, folder) {
    this.#checker = checker;
    this.#folder = folder + sep;
  }

  #resolved(symbol) {
    return (symbol.flags & ts.SymbolFlags.Alias) !== 0 ? this.#checker.getAliasedSymbol(symbol) : symbol;
  }

  /** What a module exports, sorted, as `[name, symbol]`. */
  #exportsOf(module) {
    const named = this.#checker.getExportsOfModule(module).map((symbol) => [symbol.name, this.#resolved(symbol)]);
    return named.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  }

  /** The texts of an entry's exports. */
  entry(name, source) {
    const module = this.#checker.getSymbolAtLocation(source);
    if (module === undefined) throw new Error(`${name}: ${fromRoot(source.fileName)} is no module`);
    return this.#texts(name, "", this.#exportsOf(module));
  }

  #texts(entry, prefix, exports) {
    const texts = [];
    const nested = [];
    for (const [name, symbol] of exports) {
      const declarations = symbol.declarations ?? [];
      const label = prefix + name;
      const source = declarations.find(ts.isSourceFile);
      if (source !== undefined)
        nested.push([label, symbol]); // export * as name
      else if (!declarations.some((declaration) => this.#ours(declaration)))
        texts.push(`// ${label}: from another package`);
      else if (this.#placed.has(symbol)) texts.push(`// ${label}: as in ${this.#placed.get(symbol)}`);
      else {
        this.#placed.set(symbol, entry + (prefix === "" ? "" : ` (${label})`));
        texts.push(...this.#declared(declarations, name, prefix));
      }
    }
    for (const [label, symbol] of nested) {
      if (this.#placed.has(symbol)) texts.push(`// ${label}: as in ${this.#placed.get(symbol)}`);
      else {
        this.#placed.set(symbol, `${entry} (${label})`);
        texts.push(`// ${label}.*`, ...this.#texts(entry, `${label}.`, this.#exportsOf(symbol)));
      }
    }
    return texts;
  }

  #ours(node) {
    return join(node.getSourceFile().fileName).startsWith(this.#folder);
  }

  /** Declarations of one symbol as text; what they mention is remembered. */
  #declared(declarations, name, prefix = "") {
    const texts = [];
    for (const declaration of declarations) {
      if (!this.#ours(declaration)) continue;
      const statement = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
      if (isInternal(statement)) continue;
      const shown = ts.isVariableDeclaration(declaration) ? declaration : visible(declaration);
      this.#remember(shown);
      const text = textOf(shown, declaration.getSourceFile());
      const own = declaration.name?.getText();
      texts.push(
        `${prefix === "" ? "" : `// ${prefix}${name}\n`}${own === undefined || own === name ? "" : `// exported as ${name}\n`}${text}`,
      );
    }
    return texts;
  }

  #remember(node) {
    const name = ts.isTypeReferenceNode(node)
      ? node.typeName
      : ts.isExpressionWithTypeArguments(node)
        ? node.expression
        : ts.isTypeQueryNode(node)
          ? node.exprName
          : ts.isImportTypeNode(node)
            ? node.qualifier
            : undefined;
    const symbol = name === undefined ? undefined : this.#checker.getSymbolAtLocation(name);
    if (symbol !== undefined) this.#mentioned.push(this.#resolved(symbol));
    ts.forEachChild(node, (child) => this.#remember(child));
  }

  /** Types that exports mention and no entry exports, and those that these mention. */
  others() {
    const texts = [];
    for (let symbol = this.#mentioned.shift(); symbol !== undefined; symbol = this.#mentioned.shift()) {
      const declarations = symbol.declarations ?? [];
      if (
        this.#placed.has(symbol) ||
        (symbol.flags & ts.SymbolFlags.TypeParameter) !== 0 ||
        !declarations.some((declaration) => this.#ours(declaration))
      )
        continue;
      this.#placed.set(symbol, null);
      if (symbol.parent === undefined || declarations.some(ts.isEnumMember)) continue; // a member of what is shown
      texts.push(...this.#declared(declarations, symbol.name).map((text) => [symbol.name, text]));
    }
    return texts.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, text]) => text);
  }
}

const block = (texts) => `\`\`\`ts\n${texts.join("\n")}\n\`\`\`\n`;

/** The report of one package. */
export function reportOf(workspace, program) {
  const report = new Report(program.getTypeChecker(), workspace.folder);
  const sections = entriesOf(workspace).map(([name, file]) => {
    const source = program.getSourceFile(file);
    if (source === undefined) throw new Error(`${name}: no ${fromRoot(file)}. Fix: npm run build`);
    return `## \`${name}\`\n\n${block(report.entry(name, source))}`;
  });
  const others = report.others();
  if (others.length > 0) sections.push(`## Mentioned, not exported\n\n${block(others)}`);
  return `# Public types of \`${workspace.name}\`\n\nWritten by \`npm run api\`; not edited.\n\n${sections.map(inOrder).join("\n")}`;
}
/** Names in a union stand in whatever order the compiler met them, which is another in a clean build. */
function inOrder(text) {
  return text.replace(/"[\w.-]+"(?: \| "[\w.-]+")+/g, (names) => names.split(" | ").sort().join(" | "));
}

/** Reports by file name. */
export function reports() {
  const packages = publicPackages();
  const program = programOf(packages.flatMap((workspace) => entriesOf(workspace).map(([, file]) => file)));
  return new Map(
    packages.map((workspace) => [
      `${relative(join(root, "packages"), workspace.folder)}.md`,
      reportOf(workspace, program),
    ]),
  );
}

function main() {
  const wanted = reports();
  const there = existsSync(FOLDER) ? readdirSync(FOLDER) : [];
  const differ = [...wanted]
    .filter(([name, text]) => !there.includes(name) || readFileSync(join(FOLDER, name), "utf8") !== text)
    .map(([name]) => name);
  const stale = there.filter((name) => !wanted.has(name));
  if (process.argv.includes("--check")) {
    for (const name of [...differ, ...stale])
      console.error(`docs/api/${name} is not what the packages export. Fix: npm run api`);
    console.log(`api: ${wanted.size} reports, ${differ.length + stale.length} differ`);
    if (differ.length + stale.length > 0) process.exitCode = 1;
    return;
  }
  mkdirSync(FOLDER, { recursive: true });
  for (const name of stale) rmSync(join(FOLDER, name));
  for (const name of differ) writeFileSync(join(FOLDER, name), wanted.get(name));
  console.log(`api: ${wanted.size} reports, ${differ.length} written`);
}

if (process.argv[1] === join(root, "tools", "api.mjs")) main();
