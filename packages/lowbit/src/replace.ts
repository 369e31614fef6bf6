/** Change modules inside a module. */
import { nn } from "@nbit/torch";

/**
 * Offer every module below `root` with its path to `choose`, parents first, each once; what it returns takes the module's place wherever it occurs, null leaves it.
 * Nothing below a module that was replaced is offered.
 */
export function replaceChildren(root: nn.Module, choose: (child: nn.Module, path: string) => nn.Module | null): void {
  const chosen = new Map<nn.Module, nn.Module>();
  const visit = (parent: nn.Module, prefix: string): void => {
    for (const [name, child] of Object.entries(parent)) {
      if (!(child instanceof nn.Module)) continue;
      const path = prefix === "" ? nn.snakeCase(name) : `${prefix}.${nn.snakeCase(name)}`;
      let next = chosen.get(child);
      if (next === undefined) {
        next = choose(child, path) ?? child;
        chosen.set(child, next);
        if (next === child) visit(child, path);
      }
      if (next !== child) Reflect.set(parent, name, next);
    }
  };
  chosen.set(root, root);
  visit(root, "");
}
