/** Mixed precision by hand: inside the region each operator picks the precision that it can afford. */
import { amp, crossEntropyLoss, manualSeed, nn, randn, tensor } from "@nbit/torch";

manualSeed(0);
const layer = new nn.Linear(64, 10);
const x = randn(8, 64);
const classes = tensor([0, 1, 2, 3, 4, 5, 6, 7], { dtype: "int64" });

const loss = amp.autocast({ deviceType: "cpu", dtype: "bfloat16" }, () => {
  const logits = layer.forward(x);
  const value = crossEntropyLoss(logits, classes);
  console.log(`linear gives ${logits.dtype}, the loss is ${value.dtype}`);
  return value;
});

// Backward runs outside; gradients have their parameters' dtype.
loss.backward();
console.log(`the weight is ${layer.weight.dtype}, its gradient ${layer.weight.grad?.dtype}`);
