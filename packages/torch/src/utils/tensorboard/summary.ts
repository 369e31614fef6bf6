/**
 * Messages of TensorBoard's: `Event`, `Summary`, `SummaryMetadata`, `TensorProto`. Fields stand in the order of their
 * numbers, and those that have their default value are left out, as other writers do.
 */
import { Message } from "../../io/protobuf.js";

/** Numbers of `DataType`. */
export const DT = { float: 1, double: 2, int32: 3, uint8: 4, int16: 5, int8: 6, string: 7, complex64: 8 } as const;
export const DT_INT64 = 9;
export const DT_BOOL = 10;
export const DT_BFLOAT16 = 14;
export const DT_HALF = 19;

/** What a summary's value is made of. */
export interface SummaryValue {
  readonly tag: string;
  /** The field of `Summary.Value` that holds it, and the message or number; none: metadata alone. */
  readonly content?:
    | { readonly simple: number }
    | { readonly image: Message }
    | { readonly histogram: Message }
    | { readonly audio: Message }
    | { readonly tensor: Message };
  readonly metadata?: Message;
}

/** `Summary`. */
export function summary(values: readonly SummaryValue[]): Message {
  const all = new Message();
  for (const value of values) all.message(1, valueOf(value));
  return all;
}

function valueOf({ tag, content, metadata }: SummaryValue): Message {
  const value = new Message().text(1, tag);
  if (content !== undefined) {
    if ("simple" in content) value.float(2, content.simple);
    else if ("image" in content) value.message(4, content.image);
    else if ("histogram" in content) value.message(5, content.histogram);
    else if ("audio" in content) value.message(6, content.audio);
    else value.message(8, content.tensor);
  }
  if (metadata !== undefined) value.message(9, metadata);
  return value;
}

/** `SummaryMetadata` of a plugin. */
export function metadataOf(plugin: string, content = new Message(), displayName = "", description = ""): Message {
  const data = new Message().text(1, plugin);
  if (content.length > 0) data.message(2, content);
  const metadata = new Message().message(1, data);
  if (displayName !== "") metadata.text(2, displayName);
  if (description !== "") metadata.text(3, description);
  return metadata;
}

/** `TensorShapeProto`. */
export function shapeProto(shape: readonly number[]): Message {
  const all = new Message();
  for (const size of shape) all.message(2, size === 0 ? new Message() : new Message().int(1, size));
  return all;
}

/** `TensorProto` of 32-bit numbers. */
export function floatTensor(shape: readonly number[] | null, values: ArrayLike<number>): Message {
  const tensor = new Message().int(1, DT.float);
  if (shape !== null) tensor.message(2, shapeProto(shape));
  return tensor.floats(5, values);
}

/** `TensorProto` of one string. */
export function stringTensor(shape: readonly number[], value: Uint8Array): Message {
  return new Message().int(1, DT.string).message(2, shapeProto(shape)).bytes(8, value);
}

/** `Event`: what of it is given. */
export interface EventFields {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step?: number | null;
  readonly version?: string;
  readonly summary?: Message;
  readonly graph?: Message;
  /** A run began anew at `step`: readers forget what an earlier one logged from there on. */
  readonly sessionStart?: boolean;
  readonly runMetadata?: Message;
}

export function event(fields: EventFields): Message {
  const { step = null, version, graph, sessionStart, runMetadata } = fields;
  const all = new Message();
  if (fields.wallTime !== 0) all.double(1, fields.wallTime);
  if (step !== null && step !== 0) all.int(2, step);
  if (version !== undefined) all.text(3, version);
  if (graph !== undefined) all.message(4, graph);
  if (fields.summary !== undefined) all.message(5, fields.summary);
  if (sessionStart === true) all.message(7, new Message().int(1, 1));
  if (runMetadata !== undefined) all.message(8, runMetadata);
  return all;
}
