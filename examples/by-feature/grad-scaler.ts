/** float16 by hand: scale the loss, so that small gradients survive, and skip the steps in which they overflow. */
import { amp, manualSeed, mseLoss, nn, optim, randn, scope } from "@nbit/torch";

manualSeed(0);
const model = new nn.Linear(32, 1);
const optimizer = new optim.SGD(model.parameters(), { lr: 1e-2 });
// Too high on purpose: gradients overflow at first, and the scale comes down by itself.
const scaler = new amp.GradScaler({ device: "cpu", initScale: 2 ** 20 });
const x = randn(64, 32);
const y = x.sum([1], { keepdim: true });

for (let i = 0; i < 10; i++) {
  scope(() => {
    const scale = scaler.getScale();
    optimizer.zeroGrad();
    const loss = amp.autocast({ deviceType: "cpu", dtype: "float16" }, () => mseLoss(model.forward(x), y));
    scaler.scale(loss).backward();
    const { stepped } = scaler.step(optimizer);
    scaler.update();
    console.log(`step ${i}: loss ${loss.item().toFixed(4)}, scale ${scale}, ${stepped ? "stepped" : "skipped"}`);
  });
}
