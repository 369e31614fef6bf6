/** Tensors, operators and gradients. */
import { linspace, memory, scope, tensor } from "@nbit/torch";

const a = tensor([
  [1, 2],
  [3, 4],
]);
console.log(String(a.matmul(a.t())));

// Gradients: d(x²)/dx = 2x.
const x = linspace(0, 2, 5, { requiresGrad: true });
x.square().sum().backward();
console.log("x    ", x.tolist());
console.log("2 · x", x.grad?.tolist());

// A scope frees what was made inside, except what it returns.
const before = memory().tensors;
const norm = scope(() => a.square().sum().sqrt());
console.log(`norm ${norm.item().toFixed(4)}, ${memory().tensors - before} tensor more than before`);
