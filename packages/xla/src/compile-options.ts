import { ArgumentError } from "@nbit/torch/files";
import { checkOptions, kinds, type OptionNames } from "@nbit/torch/options";
import { ProtoWriter } from "./proto.js";

export interface CompileOptions {
  /** Devices that the program is partitioned over, by the sharding annotations in it. Default 1. */
  readonly partitions?: number;
  /** Places in the client's list of devices, one for each partition. Default: the first ones. */
  readonly devices?: readonly number[];
  /**
   * Let the compiler leave out roundings to a narrower type between operators. Default false: what is computed is what
   * the program says.
   */
  readonly allowExcessPrecision?: boolean;
  /** XLA's debug options and a platform's own, by name: `{ xla_cpu_enable_fast_math: false }`. */
  readonly debugOptions?: Readonly<Record<string, string | number | boolean>>;
}

const setting = kinds.such<string | number | boolean>(
  "a string, a finite number, true or false",
  (v) => typeof v === "string" || typeof v === "boolean" || Number.isFinite(v),
);
export const COMPILE_OPTIONS: OptionNames<CompileOptions> = {
  partitions: kinds.whole("[1, 65536]"),
  devices: kinds.listOf(kinds.whole("[0, 65536)")),
  allowExcessPrecision: kinds.flag,
  debugOptions: kinds.record,
};

/** Checks options, and fills in defaults. */
export function compileOptions(fn: string, options: CompileOptions): Required<CompileOptions> {
  checkOptions(fn, options, COMPILE_OPTIONS);
  const { partitions = 1, allowExcessPrecision = false, debugOptions = {} } = options;
  const devices =
    options.devices === undefined ? Array.from({ length: partitions }, (_, i) => i) : [...options.devices];
  if (devices.length !== partitions || new Set(devices).size !== partitions)
    throw new ArgumentError(fn, `devices to be ${partitions} different places, one for each partition`, devices);
  for (const [name, value] of Object.entries(debugOptions))
    if (!setting.accepts(value)) throw new ArgumentError(fn, `debugOptions.${name} to be ${setting.words}`, value);
  return { partitions, devices, allowExcessPrecision, debugOptions: { ...debugOptions } };
}

/**
 * A `CompileOptionsProto`, of which a few fields suffice.
 * @param ids - Of the devices, as the platform numbers them.
 */
export function encodeCompileOptions(options: Required<CompileOptions>, ids: readonly number[]): Uint8Array {
  const { partitions, allowExcessPrecision, debugOptions } = options;
  const build = new ProtoWriter().whole(1, -1).whole(4, 1).whole(5, partitions); // device_ordinal, num_replicas, num_partitions
  if (partitions > 1) build.whole(6, true); // use_spmd_partitioning
  const assignment = new ProtoWriter().whole(1, 1).whole(2, partitions); // replica_count, computation_count
  for (const id of ids) assignment.message(3, new ProtoWriter().whole(1, id)); // computation_devices.replica_device_ids
  build.message(9, assignment);
  const message = new ProtoWriter().message(3, build); // executable_build_options
  const settings = { xla_allow_excess_precision: allowExcessPrecision, ...debugOptions };
  for (const [name, value] of Object.entries(settings).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const override = new ProtoWriter(); // string_field, bool_field, int_field, double_field
    if (typeof value === "string") override.text(1, value);
    else if (typeof value === "boolean") override.whole(2, value);
    else if (Number.isSafeInteger(value)) override.whole(3, value);
    else override.double(4, value);
    message.message(7, new ProtoWriter().text(1, name).message(2, override)); // env_option_overrides
  }
  return message.done();
}
