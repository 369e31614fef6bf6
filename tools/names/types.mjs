/**
 * Names in the public types of a package: exports, members of classes and interfaces, and what functions and
 * constructors take, by position or by name. Read from the compiled declarations, so that fields, which no prototype
 * has, and options, which only a type tells, are found as methods are.
 */
import ts from "typescript";
import { entriesOf, programOf, publicPackages } from "../api.mjs";

const PRIVATE = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
const MOST_DEPTH = 4;

export class PublicTypes {
  #checker;
  /** Export → symbol, of every entry of the packages. */
  #exports = new Map();

  /** @param {readonly string[]} packages Their names. What an earlier one exports comes first. */
  constructor(packages) {
    const known = publicPackages();
    const files = packages.flatMap((name) =>
      entriesOf(known.find((p) => p.name === name) ?? unknownPackage(name)).map(([, file]) => file),
    );
    const program = programOf(files);
    this.#checker = program.getTypeChecker();
    for (const file of files) {
      const module = this.#checker.getSymbolAtLocation(program.getSourceFile(file));
      for (const symbol of this.#checker.getExportsOfModule(module))
        if (!this.#exports.has(symbol.name)) this.#exports.set(symbol.name, this.#resolved(symbol));
    }
  }

  #resolved(symbol) {
    return (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : this.#checker.getAliasedSymbol(symbol);
  }

  exported(name) {
    return this.#exports.has(name);
  }

  /** Whether instances of a class, or the class itself, have a member that a user or a subclass may name. */
  member(className, name) {
    const symbol = this.#exports.get(className);
    if (symbol === undefined) return false;
    return this.#sides(symbol).some((type) => {
      const found = this.#checker.getPropertyOfType(type, name);
      if (found === undefined) return false;
      const [declaration] = found.declarations ?? [];
      return declaration === undefined || (ts.getCombinedModifierFlags(declaration) & ts.ModifierFlags.Private) === 0;
    });
  }

  #sides(symbol) {
    const types = [];
    if ((symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface | ts.SymbolFlags.TypeAlias)) !== 0)
      types.push(this.#checker.getDeclaredTypeOfSymbol(symbol));
    if ((symbol.flags & ts.SymbolFlags.Value) !== 0) types.push(this.#checker.getTypeOfSymbol(symbol));
    return types;
  }

  /** What `Class`, `Class.method` or `function` can be given: names of parameters and of options. */
  argumentsOf(path) {
    const [name, method] = path.split(".");
    const symbol = this.#exports.get(name);
    const names = new Set();
    if (symbol === undefined) return names;
    for (const type of this.#sides(symbol)) {
      const property = method === undefined ? undefined : this.#checker.getPropertyOfType(type, method);
      if (method !== undefined && property === undefined) continue;
      const called = property === undefined ? type : this.#checker.getTypeOfSymbol(property);
      for (const signature of [...called.getConstructSignatures(), ...called.getCallSignatures()])
        for (const parameter of signature.getParameters())
          this.#taken(this.#checker.getTypeOfSymbol(parameter), names.add(parameter.name), 0);
    }
    return names;
  }

  /** Options of an object type, labels of a tuple, and what a union's members say. */
  #taken(type, names, depth) {
    if (depth > MOST_DEPTH) return;
    if (type.isUnionOrIntersection()) {
      for (const part of type.types) this.#taken(part, names, depth + 1);
      if (type.isUnion()) return;
    }
    if (this.#checker.isTupleType(type)) {
      for (const label of type.target.labeledElementDeclarations ?? [])
        if (label?.name !== undefined) names.add(label.name.getText());
      for (const part of this.#checker.getTypeArguments(type)) this.#taken(part, names, depth + 1);
      return;
    }
    if ((type.flags & ts.TypeFlags.Object) === 0 || type.getCallSignatures().length > 0) return;
    // Instances of classes are values, whose members are no options.
    if (type.isClass() || this.#checker.isArrayType(type)) return;
    for (const property of this.#checker.getPropertiesOfType(type)) {
      const [declaration] = property.declarations ?? [];
      if (declaration === undefined || (ts.getCombinedModifierFlags(declaration) & PRIVATE) === 0)
        names.add(property.name);
    }
  }
}

const unknownPackage = (name) => {
  throw new Error(`${name} is no package of this repository`);
};
