/** Change modules inside a module. */
import { nn } from "@nbit/torch";

/**
 * Offer every module below `root` with its path to `choose`, parents first, each once. What it returns takes the
 * module's place wherever it occurs (the module itself stays), and nothing below it is offered; null goes on below.
 */
export function replaceChildren(root: nn.Module, choose: (child: nn.Module, path: string) => nn.Module | null): void {
  const chosen = new Map<nn.Module, nn.Module>();
  const visit = (parent: nn.Module, prefix: string): void => {
    for (const [name, child] of Object.entries(parent)) {
      if (!(child instanceof nn.Module)) continue;
      const key = parent.stateKey(name);
      const path = prefix === "" ? key : `${prefix}.${key}`;
      let next = chosen.get(child);
      if (next === undefined) {
        const picked = choose(child, path);
        next = picked ?? child;
        chosen.set(child, next);
        if (picked === null) visit(child, path);
      }
      if (next !== child) Reflect.set(parent, name, next);
    }
  };
  chosen.set(root, root);
  visit(root, "");
}
