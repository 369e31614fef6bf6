/** APEX's opt levels on MNIST, by themselves: what each makes of the same network in the same 60 steps. */
import { initialize, OPT_LEVELS } from "@nbit/apex";
import type { OptLevel } from "@nbit/apex";
import { crossEntropyLoss, manualSeed, nn, optim, randperm, scope, setNumThreads } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";
import { loadMnist } from "../mnist/data.js";

setNumThreads(1); // a small network
const { train, test } = loadMnist();
const [images, labels] = train.tensors as [Tensor, Tensor];
const [testImages, testLabels] = test.tensors.map((t) => t.narrow(0, 0, 2000)) as [Tensor, Tensor];

function accuracy(optLevel: OptLevel): string {
  manualSeed(4);
  const model = new nn.Sequential(new nn.Flatten(), new nn.Linear(784, 64), new nn.ReLU(), new nn.Linear(64, 10));
  const optimizer = new optim.AdamW(model.parameters(), { lr: 2e-3 });
  const amp = initialize(model, optimizer, { optLevel });
  const order = randperm(images.shape[0] ?? 0);
  for (let i = 0; i < 60; i++) {
    scope(() => {
      const batch = order.narrow(0, i * 64, 64);
      optimizer.zeroGrad();
      const loss = amp.run(() =>
        crossEntropyLoss(model.forward(images.indexSelect(0, batch)) as Tensor, labels.indexSelect(0, batch)),
      );
      amp.scaleLoss(loss, optimizer, (scaled) => scaled.backward());
      optim.clipGradNorm(amp.masterParams(optimizer), 5);
      optimizer.step();
    });
  }
  const right = scope(() => (model.forward(testImages) as Tensor).argmax(1).eq(testLabels).float().mean().item());
  const masters = amp.masterParams(optimizer)[0]?.dtype;
  amp.dispose(); // float32 again, with the masters' values
  return `${(100 * right).toFixed(1).padStart(5)} % right, optimizer in ${masters}`;
}

for (const level of ["O0", "O1", "O2", "O3"] as const)
  console.log(`${level} ${accuracy(level)} (${OPT_LEVELS[level].brief})`);
console.log("O3's Adam: its eps of 1e-8 is 0 in float16, and a weight without a gradient becomes 0 / 0.");
