/** Hyper-parameters and the metrics that they are compared by, for TensorBoard's table of them. */
import { ArgumentError } from "../../errors.js";
import { Message } from "../../io/protobuf.js";
import { isTensor } from "../../tensor/handle.js";
import type { Tensor } from "../../tensor/tensor.js";
import { numberOf, type Scalar } from "./numbers.js";
import { metadataOf, summary } from "./summary.js";

/** Null is left out. */
export type HparamValue = number | string | boolean | null | Tensor;
type Plain = number | string | boolean;

/** `DataType` of a value. */
const TYPES = { string: 1, boolean: 2, number: 3 } as const;

/** `google.protobuf.Value`. */
function valueProto(value: Plain): Message {
  if (typeof value === "number") return new Message().double(2, value);
  return typeof value === "string" ? new Message().text(3, value) : new Message().int(4, value ? 1 : 0);
}

/**
 * What an experiment has, how this run of it begins, and how it ended: three summaries.
 * @throws {ArgumentError} for a value of another kind, and for a domain that holds one.
 */
export function hparamSummaries(
  fn: string,
  hparams: Readonly<Record<string, HparamValue>>,
  metrics: readonly string[],
  domains: Readonly<Record<string, readonly Plain[]>>,
): readonly [experiment: Message, start: Message, end: Message] {
  const values = plainValues(fn, hparams);
  const start = new Message();
  const experiment = new Message();
  for (const name of Object.keys(domains)) checkDomain(fn, name, values.get(name), domains[name]);
  for (const [name, value] of values) {
    start.message(1, new Message().text(1, name).message(2, valueProto(value)));
    const info = new Message().text(1, name).int(4, TYPES[typeof value as keyof typeof TYPES]);
    const domain = domains[name];
    if (domain !== undefined) {
      const list = new Message();
      for (const each of domain) list.message(1, valueProto(each));
      info.message(5, list);
    }
    experiment.message(4, info);
  }
  for (const tag of metrics) experiment.message(5, new Message().message(1, new Message().text(2, tag)));
  return [
    plugin("_hparams_/experiment", new Message().message(2, experiment)),
    plugin("_hparams_/session_start_info", new Message().message(3, start)),
    plugin("_hparams_/session_end_info", new Message().message(4, new Message().int(1, 1))),
  ];
}

function plugin(tag: string, content: Message): Message {
  return summary([{ tag, metadata: metadataOf("hparams", content) }]);
}

function plainValues(fn: string, hparams: Readonly<Record<string, HparamValue>>): Map<string, Plain> {
  const values = new Map<string, Plain>();
  for (const [name, value] of Object.entries(hparams)) {
    if (value === null) continue;
    if (isTensor(value) && value.numel() === 1) values.set(name, numberOf(fn, name, value as Scalar));
    else if (typeof value === "number" || typeof value === "string" || typeof value === "boolean")
      values.set(name, value);
    else
      throw new ArgumentError(
        fn,
        `hparamDict.${name} to be a number, a string, true, false, null or a tensor of one element`,
        value,
      );
  }
  return values;
}

function checkDomain(fn: string, name: string, value: Plain | undefined, domain: unknown): void {
  const fits = Array.isArray(domain) && value !== undefined && domain.every((each) => typeof each === typeof value);
  if (!fits)
    throw new ArgumentError(
      fn,
      `hparamDomainDiscrete.${name} to be an array of values like hparamDict.${name}`,
      domain,
    );
}
