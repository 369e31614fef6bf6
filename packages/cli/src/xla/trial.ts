/** Whether a device of XLA's trains as the host does: `nbit doctor --xla`. */
import { TPUAccelerator, XLAAccelerator } from "@nbit/lightning";
import { versions } from "@nbit/torch";
import { pluginFor, XlaPlugin } from "@nbit/xla";
import { PluginDevice } from "@nbit/xla/step";
import { trainDigits } from "./digits.js";

const STEPS = 20;
/** By how much the losses of any step may differ: rounding is all that does, and grows from step to step. */
const LIMITS: readonly (readonly [precision: 32 | "bf16", limit: number])[] = [
  [32, 1e-3],
  ["bf16", 5e-2],
];

export interface TrialRow {
  readonly precision: string;
  readonly hostLosses: readonly number[];
  readonly deviceLosses: readonly number[];
  readonly worst: number;
  readonly limit: number;
  /** Steps that ran on the device; the first of a fit runs on the host. */
  readonly onDevice: number;
  /** Of the fit on the device, compiling included. */
  readonly seconds: number;
}
export interface Trial {
  readonly accelerator: "tpu" | "xla";
  readonly platform: string;
  readonly platformVersion: string;
  readonly kind: string;
  readonly devices: number;
  readonly plugin: string;
  readonly api: string;
  readonly rows: readonly TrialRow[];
  readonly agrees: boolean;
  readonly versions: Readonly<Record<string, string>>;
}

/** A sentence: why there is nothing to try. */
export async function tryXla(): Promise<Trial | string> {
  const tpu = new TPUAccelerator();
  const noTpu = tpu.missing();
  const accelerator = noTpu === null ? tpu : new XLAAccelerator();
  const missing = accelerator.missing();
  if (missing !== null) return `no device of XLA's. TPU: ${noTpu}. XLA: ${missing}.`;
  const device = await accelerator.openStepDevice(1);
  if (!(device instanceof PluginDevice)) return `no device of a plugin: ${device.name}.`;
  const rows: TrialRow[] = [];
  for (const [precision, limit] of LIMITS) {
    const host = await trainDigits(STEPS, { accelerator: "cpu", precision });
    const there = await trainDigits(STEPS, { accelerator, precision });
    const apart = host.losses.map((loss, i) => Math.abs(loss - (there.losses[i] ?? NaN)));
    rows.push({
      precision: String(precision),
      hostLosses: host.losses,
      deviceLosses: there.losses,
      worst: Math.max(...apart),
      limit,
      onDevice: there.trainer.replayedBatches,
      seconds: there.seconds,
    });
  }
  const { client } = device;
  const plugin = await XlaPlugin.load(pluginFor(noTpu === null ? "tpu" : "cpu"));
  const { major, minor } = plugin.apiVersion;
  return {
    accelerator: noTpu === null ? "tpu" : "xla",
    platform: client.platform,
    platformVersion: client.platformVersion,
    kind: client.devices[0]?.kind ?? "unknown",
    devices: client.devices.length,
    plugin: plugin.path,
    api: `${major}.${minor}`,
    rows,
    agrees: rows.every(({ worst, limit, onDevice }) => worst <= limit && onDevice === STEPS - 1),
    versions: { node: process.version, libtorch: versions().libtorch, system: `${process.platform} ${process.arch}` },
  };
}

export function trialText(trial: Trial): string {
  const { accelerator, platform, kind, devices, plugin, api, rows, agrees, platformVersion } = trial;
  const last = (losses: readonly number[]): string => (losses.at(-1) ?? NaN).toFixed(4);
  const verdict = agrees
    ? `The device trains as the host does${accelerator === "tpu" ? "" : ", and it is not a TPU: that one has not been tried"}.`
    : "THE DEVICE DOES NOT TRAIN AS THE HOST DOES.";
  const send =
    accelerator === "tpu" || !agrees
      ? "\nNobody who wrote this has run it on a TPU. Please send what `nbit doctor --xla --json` prints, in an issue: it closes that gap."
      : "";
  return [
    `Training images like MNIST's, ${STEPS} steps, on ${devices} × ${kind} (${platform}) and on the host`,
    `  plugin    ${plugin}, PJRT API ${api}`,
    `  platform  ${platformVersion.trim().split("\n").join("; ")}`,
    `  versions  ${Object.entries(trial.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}`,
    ...rows.map(
      ({ precision, hostLosses, deviceLosses, worst, limit, onDevice, seconds }) =>
        `  ${precision.padEnd(8)}  loss ${last(deviceLosses)} there, ${last(hostLosses)} here; apart by ${worst.toExponential(1)} at most (limit ${limit}); ${onDevice} steps on the device, ${seconds.toFixed(1)} s with compiling`,
    ),
    verdict + send,
  ].join("\n");
}
