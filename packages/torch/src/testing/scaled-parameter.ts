/** A parameter whose gradient is known, and errors by their code. */
import assert from "node:assert/strict";
import * as torch from "../index.js";

const { NbitError, nn, optim } = torch;
type Tensor = torch.Tensor;

/** A parameter and its optimizer; its gradient is what a loss of `factor · Σw` gives. */
export function make(
  factor = 1,
  options: { fused?: boolean; dtype?: torch.DType } = {},
): { w: Tensor; optimizer: torch.optim.Optimizer; loss: () => Tensor } {
  const w = new nn.Parameter(torch.ones([4], { dtype: options.dtype ?? "float32" }));
  const optimizer =
    options.fused === true ? new optim.SGD([w], { lr: 0.25, fused: true }) : new optim.SGD([w], { lr: 0.25 });
  return { w, optimizer, loss: () => w.mul(factor).sum() };
}
export const values = (t: Tensor): number[] => t.detach().tolist() as number[];

export function fails(fn: () => unknown, code: string, message: string | RegExp): void {
  assert.throws(fn, (error) => {
    assert.ok(error instanceof NbitError, String(error));
    assert.equal(error.code, code);
    if (typeof message === "string") assert.equal(error.message, message);
    else assert.match(error.message, message);
    return true;
  });
}
