import assert from "node:assert/strict";
import { test } from "node:test";
import { ArgumentError, getSwitch, nn, randn, setCpuKernels, type Tensor } from "../index.js";

const { SDPBackend, sdpaKernel } = nn.attention;
const SWITCHES = ["sdpMath", "sdpFlash", "sdpMemEfficient", "sdpCudnn", "sdpOverrideable"] as const;
const on = (): boolean[] => SWITCHES.map((name) => getSwitch(name));
const first = (): string | undefined => SWITCHES.find((name) => getSwitch(`${name}First`));

test("only the chosen kernels may compute inside; afterwards it is as before, also after an error", () => {
  const before = on();
  assert.equal(
    sdpaKernel(SDPBackend.MATH, () => {
      assert.deepEqual(on(), [true, false, false, false, false]);
      sdpaKernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], () =>
        assert.deepEqual(on(), [true, true, false, false, false]),
      );
      assert.deepEqual(on(), [true, false, false, false, false]);
      return 3;
    }),
    3,
  );
  assert.throws(
    () =>
      sdpaKernel(SDPBackend.MATH, () => {
        throw new Error("no");
      }),
    /no/,
  );
  assert.deepEqual(on(), before);
});

test("their order counts where it is asked for", () => {
  assert.equal(first(), "sdpFlash");
  const list = [SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH] as const;
  sdpaKernel(list, () => assert.equal(first(), "sdpFlash"));
  for (const how of [true, { setPriority: true }] as const) {
    sdpaKernel(list, how, () => {
      assert.equal(first(), "sdpCudnn");
      sdpaKernel([SDPBackend.MATH], how, () => assert.equal(first(), "sdpMath"));
      assert.equal(first(), "sdpCudnn");
    });
    assert.equal(first(), "sdpFlash");
  }
});

test("kernels agree, and a call that none can compute fails", () => {
  const [q, k, v] = [0, 1, 2].map(() => randn([1, 2, 5, 4])) as [Tensor, Tensor, Tensor];
  const run = (): Tensor => nn.functional.scaledDotProductAttention(q, k, v);
  setCpuKernels("libtorch");
  const math = sdpaKernel(SDPBackend.MATH, run);
  assert.ok(sdpaKernel(SDPBackend.FLASH_ATTENTION, run).allclose(math, 1e-4, 1e-5));
  assert.throws(() => sdpaKernel(SDPBackend.EFFICIENT_ATTENTION, run), { name: "TorchError" });
  setCpuKernels("fast");
});

test("refused before anything is switched", () => {
  const before = on();
  for (const [message, args] of [
    [/backends to be an SDPBackend, or an array of them\. Received: 9/, [9, () => 0]],
    [/backends to be an SDPBackend/, [SDPBackend.ERROR, () => 0]],
    [/backends to be an SDPBackend/, [[], () => 0]],
    [/fn to be a function/, [0]],
    [/fn to be a function/, [0, true, 3]],
    [/setPriority to be true or false/, [0, 3, () => 0]],
    [/expected the option setPriority\. Received: "setpriority"/, [0, { setpriority: true }, () => 0]],
  ] as const)
    assert.throws(
      () => Reflect.apply(sdpaKernel, null, args),
      (error) => error instanceof ArgumentError && message.test(error.message),
    );
  assert.throws(() => sdpaKernel(0, async () => Promise.resolve()), { code: "ERR_ASYNC_MODE" });
  assert.deepEqual(on(), before);
});
