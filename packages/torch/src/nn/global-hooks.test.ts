import assert from "node:assert/strict";
import { test } from "node:test";
import { autograd, nn, ones, randn, zeros, type Tensor } from "@nbit/torch";

const hooks = nn.modules.module;

class Inner extends nn.Linear {
  override forward(x: Tensor): Tensor {
    return super.forward(x).mul(2);
  }
}
class Net extends nn.Module {
  readonly inner = new Inner(2, 2);
  readonly act = new nn.ReLU();
  forward(x: Tensor): Tensor {
    return this.act.forward(this.inner.forward(x));
  }
}
/** The same forward as before, when no hook is left. */
const forwards = (): unknown[] => [Net, Inner, nn.Linear, nn.ReLU].map((type) => type.prototype.forward);

test("hooks of all modules see each forward once, however it is called, before the module's own", () => {
  const before = forwards();
  const net = new Net();
  const said: string[] = [];
  const say = (what: string) => (module: nn.Module) => void said.push(`${what} ${module.constructor.name}`);
  net.inner.registerForwardPreHook(say("own pre"));
  net.inner.registerForwardHook(say("own post"));
  const handles = [hooks.registerModuleForwardPreHook(say("pre")), hooks.registerModuleForwardHook(say("post"))];
  const expected = [
    "pre Net",
    "pre Inner",
    "own pre Inner",
    "post Inner",
    "own post Inner",
    "pre ReLU",
    "post ReLU",
    "post Net",
  ];
  net.forward(ones([1, 2]));
  assert.deepEqual(said.splice(0), expected);
  net.call(ones([1, 2]));
  assert.deepEqual(said.splice(0), expected);
  // Of a class that nobody has seen yet.
  class Late extends nn.Module {
    forward(x: Tensor): Tensor {
      return x;
    }
  }
  new Late().forward(ones([1]));
  assert.deepEqual(said.splice(0), ["pre Late", "post Late"]);
  for (const handle of handles) handle.remove();
  net.forward(ones([1, 2]));
  assert.deepEqual(said, ["own pre Inner", "own post Inner"]);
  assert.deepEqual(forwards(), before);
});

test("they may change arguments and outputs, and run after an error where they say so", () => {
  const layer = new nn.Identity();
  const handles = [
    hooks.registerModuleForwardPreHook((_, [x]) => (x as Tensor).add(1)),
    hooks.registerModuleForwardHook((_, __, y) => (y as Tensor).mul(10)),
  ];
  assert.deepEqual((layer.forward(zeros([2])) as Tensor).tolist(), [10, 10]);
  for (const handle of handles) handle.remove();
  const seen: unknown[] = [];
  const last = hooks.registerModuleForwardHook((_, __, y) => void seen.push(y), { alwaysCall: true });
  class Failing extends nn.Module {
    forward(): never {
      throw new Error("no");
    }
  }
  assert.throws(() => new Failing().forward(), /no/);
  last.remove();
  assert.deepEqual(seen, [undefined]);
  assert.throws(() => hooks.registerModuleForwardHook(3 as never), { code: "ERR_ARGUMENT" });
  assert.throws(() => hooks.registerModuleForwardHook(() => undefined, { prepend: true } as never), /prepend/);
});

test("hooks of all backwards see the gradients of each module", () => {
  const net = new Net();
  const said: string[] = [];
  const handles = [
    hooks.registerModuleFullBackwardPreHook((m) => void said.push(`pre ${m.constructor.name}`)),
    hooks.registerModuleFullBackwardHook((m, gradInput) => void said.push(`${m.constructor.name} ${gradInput.length}`)),
  ];
  const x = randn([1, 2], { requiresGrad: true });
  net.forward(x).sum().backward();
  for (const handle of handles) handle.remove();
  assert.deepEqual(said, ["pre Net", "pre ReLU", "ReLU 1", "pre Inner", "Inner 1", "Net 1"]);
  assert.ok(autograd.isGradEnabled());
});

test("hooks of registration see parameters, buffers and modules, and may replace them", () => {
  const said: string[] = [];
  const handles = [
    hooks.registerModuleParameterRegistrationHook((m, name) => void said.push(`${m.constructor.name}.${name}`)),
    hooks.registerModuleModuleRegistrationHook((m, name) => void said.push(`${m.constructor.name}.${name}`)),
    hooks.registerModuleBufferRegistrationHook((m, name, b) => {
      said.push(`${m.constructor.name}.${name}`);
      return name === "twice" ? b.mul(2) : undefined;
    }),
  ];
  const net = new Net();
  net.registerBuffer("twice", ones([2]));
  net.registerParameter("p", new nn.Parameter(ones([1])));
  net.registerModule("m", new nn.Identity());
  // What is registered is told at once, fields that a class assigns when they are looked at.
  assert.deepEqual(said.splice(0), ["Net.inner", "Net.act", "Net.twice", "Net.p", "Net.m"]);
  assert.equal([...net.parameters()].length, 3);
  net.stateDict();
  assert.deepEqual(said.splice(0).sort(), ["Inner.bias", "Inner.weight"]);
  assert.deepEqual(net.getBuffer("twice").tolist(), [2, 2]);
  for (const handle of handles) handle.remove();
  const replaced = new nn.Parameter(ones([2, 2]));
  const handle = hooks.registerModuleParameterRegistrationHook((_, name) => (name === "weight" ? replaced : undefined));
  const other = new nn.Linear(2, 2);
  assert.equal(other.parameters()[0], replaced);
  assert.equal(other.weight, replaced);
  handle.remove();
  new Net().parameters();
  assert.deepEqual(said, []);
});
