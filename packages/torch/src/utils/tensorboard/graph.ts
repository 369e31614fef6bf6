/** What a model calls, as a graph of operators within its modules. */
import { noGrad } from "../../autograd/modes.js";
import { Message } from "../../io/protobuf.js";
import type { Module } from "../../nn/module.js";
import { observingCalls } from "../../ops/invoke.js";
import type { Schema } from "../../ops/schema.js";
import { isTensor } from "../../tensor/handle.js";
import { scope } from "../../tensor/scope.js";
import type { Tensor } from "../../tensor/tensor.js";
import { shapeProto } from "./summary.js";

interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly shape: readonly number[] | null;
  readonly attributes: string;
}

/**
 * The operators of one forward in evaluation, without gradients, each within the modules that called it. Parameters,
 * inputs and outputs are nodes too; what else was there before is a constant.
 */
export function graphOf(model: Module, inputs: readonly unknown[]): readonly GraphNode[] {
  const tracer = new GraphTracer(model);
  inputs.forEach((value, i) => {
    if (isTensor(value)) tracer.add(value, `input/${i + 1}`, "IO Node");
  });
  const training = [...model.modules()].map((module) => [module, module.training] as const);
  const hooks = [...model.namedModules()].flatMap(([path, module]) => [
    module.registerForwardPreHook(() => void tracer.enter(path, module), { prepend: true }),
    module.registerForwardHook(() => void tracer.leave(), { alwaysCall: true }),
  ]);
  try {
    model.eval();
    scope(() => {
      const made: unknown = noGrad(() => observingCalls(tracer.call, () => Reflect.apply(model.call, model, inputs)));
      tensorsIn(made).forEach((t, i) => {
        tracer.output(t, i + 1);
      });
    });
    return tracer.nodes;
  } finally {
    for (const hook of hooks) hook.remove();
    for (const [module, was] of training) module.training = was;
  }
}

function tensorsIn(value: unknown): Tensor[] {
  if (isTensor(value)) return [value];
  if (Array.isArray(value)) return value.flatMap(tensorsIn);
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(tensorsIn) : [];
}

class GraphTracer {
  readonly nodes: GraphNode[] = [];
  readonly #root: string;
  readonly #scopes: string[] = [];
  /** The node, or the output of one, that a tensor is now. */
  readonly #names = new Map<Tensor, string>();
  readonly #counts = new Map<string, number>();

  constructor(model: Module) {
    this.#root = model.constructor.name;
    const classes = new Map([...model.namedModules()].map(([path, module]) => [path, module.constructor.name]));
    for (const [name, parameter] of [...model.namedParameters(), ...model.namedBuffers()]) {
      const path = name.split(".");
      const field = path.pop() ?? "";
      this.add(parameter, `${this.#scopeOf(path, classes)}/${field}`, "Parameter");
    }
  }

  /** `Net/Sequential[layers]/Linear[0]`. */
  #scopeOf(path: readonly string[], classes: ReadonlyMap<string, string>): string {
    const parts = path.map((part, i) => `${classes.get(path.slice(0, i + 1).join(".")) ?? "Module"}[${part}]`);
    return [this.#root, ...parts].join("/");
  }

  enter(path: string, module: Module): void {
    const own = path === "" ? this.#root : `${module.constructor.name}[${path.split(".").at(-1) ?? ""}]`;
    const within = this.#scopes.at(-1);
    this.#scopes.push(within === undefined || path === "" ? own : `${within}/${own}`);
  }
  leave(): void {
    this.#scopes.pop();
  }

  add(t: Tensor, name: string, op: string, inputs: readonly string[] = [], attributes = ""): void {
    this.nodes.push({ name, op, inputs, shape: t.shape, attributes });
    this.#names.set(t, name);
  }
  output(t: Tensor, number: number): void {
    this.nodes.push({
      name: `output/${number}`,
      op: "IO Node",
      inputs: [this.#nameOf(t)],
      shape: t.shape,
      attributes: "",
    });
  }

  #nameOf(t: Tensor): string {
    const known = this.#names.get(t);
    if (known !== undefined) return known;
    const name = this.#unique("constant");
    this.add(t, name, "Constant");
    return name;
  }
  #unique(name: string): string {
    const full = `${this.#scopes.at(-1) ?? this.#root}/${name}`;
    const count = (this.#counts.get(full) ?? 0) + 1;
    this.#counts.set(full, count);
    return count === 1 ? full : `${full}_${count}`;
  }

  readonly call = (schema: Schema, given: Readonly<Record<string, unknown>>, result: unknown): void => {
    const inputs: string[] = [];
    const others: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(given)) {
      const tensors = isTensor(value) || Array.isArray(value) ? tensorsIn(value) : [];
      if (tensors.length > 0) inputs.push(...tensors.map((t) => this.#nameOf(t)));
      else if (value !== null && value !== undefined) others[key] = value;
    }
    const made = tensorsIn(result);
    const name = this.#unique(schema.name.replace(/^aten::/, ""));
    this.nodes.push({
      name,
      op: schema.name.includes("::") ? schema.name : `aten::${schema.name}`,
      inputs,
      shape: made[0]?.shape ?? null,
      attributes: Object.entries(others)
        .map(([key, value]) => `${key}=${String(value)}`)
        .join(", "),
    });
    made.forEach((t, i) => this.#names.set(t, i === 0 ? name : `${name}:${i}`));
  };
}

/** `GraphDef`. */
export function graphProto(nodes: readonly GraphNode[]): Message {
  const graph = new Message();
  for (const { name, op, inputs, shape, attributes } of nodes) {
    const node = new Message().text(1, name).text(2, op);
    for (const input of inputs) node.text(3, input);
    if (shape !== null) {
      const shapes = new Message().message(1, new Message().message(7, shapeProto(shape)));
      node.message(5, new Message().text(1, "_output_shapes").message(2, shapes));
    }
    node.message(5, new Message().text(1, "attr").message(2, new Message().text(2, attributes)));
    graph.message(1, node);
  }
  return graph.message(4, new Message().int(1, 22));
}

/** `RunMetadata` that names a device, without which TensorBoard shows no graph. */
export function runMetadata(): Message {
  const steps = new Message().message(1, new Message().text(1, "/device:CPU:0"));
  return new Message().text(1, "step1").bytes(2, new Message().message(1, steps).done());
}
