import { atMost, checkOptions, device, getFloat32MatmulPrecision, kinds } from "@nbit/torch";
import type { Device, OptionNames } from "@nbit/torch";
import type { StepDevice } from "@nbit/xla/step";
import { MisconfigurationError } from "../errors.js";
import { availablePrecisions, entryNamed, spell } from "../precision/catalogue.js";
import type { PrecisionEntry } from "../precision/entry.js";
import type { PrecisionName } from "../precision/names.js";
import type { Strategy } from "../strategies/strategy.js";
import { XLAStrategy } from "../strategies/xla.js";
import type { StepCompiler } from "../strategies/step-compiler.js";
import type { DeviceSupport } from "./accelerator.js";
import { PjrtFile, type XLAPlugin } from "./pjrt.js";

/** What strategies ask for, where one process drives all devices: whether parameters and state are split, too. */
const SHARDS: Readonly<Record<string, boolean>> = {
  auto: false,
  single_device: false,
  ddp: false,
  xla: false,
  fsdp: true,
};

export interface XLAAcceleratorOptions {
  /** A plugin's file. Default: `PJRT_PLUGIN_LIBRARY_PATH`, or what set-up made. It runs code of that library's. */
  readonly plugin?: string;
}
const NAMES: OptionNames<XLAAcceleratorOptions> = { plugin: kinds.filled };

/**
 * A device behind a PJRT plugin: whole training steps are compiled for it by XLA. The plugin is that of the option, of
 * `PJRT_PLUGIN_LIBRARY_PATH`, or the one for CPUs that `nbit setup --xla` makes.
 *
 * Modules and batches are tensors of the host. What steps need of them lives on the device during a fit; validation,
 * testing and prediction run on the host.
 */
export class XLAAccelerator implements StepCompiler {
  readonly name: string = "xla";
  readonly drivesAllDevices = true;
  readonly plugin: XLAPlugin;

  constructor(options: XLAAcceleratorOptions = {}) {
    atMost(new.target.name, arguments, 1);
    checkOptions(new.target.name, options, NAMES);
    this.plugin = new PjrtFile(this.platform, options.plugin ?? null);
  }
  protected get platform(): "cpu" | "tpu" {
    return "cpu";
  }

  missing(): string | null {
    return this.plugin.missing();
  }
  /** Nobody knows before the plugin has started: a fit that asks for more than there are says so. */
  deviceCount(): number {
    return this.missing() === null ? 65536 : 0;
  }
  /** Of the module's tensors: the host. */
  device(): Device {
    return device("cpu");
  }
  support(): DeviceSupport {
    return { float16: false, bfloat16: true, float8: false, description: this.plugin.description };
  }
  /** As `setFloat32MatmulPrecision` has it. */
  get float32MatmulPrecision(): "highest" | "high" | "medium" {
    return getFloat32MatmulPrecision();
  }
  async openStepDevice(devices: number): Promise<StepDevice> {
    const opened = await this.plugin.open(devices);
    if (devices <= opened.count) return opened; // also -1: all of them
    throw new MisconfigurationError(
      "Trainer",
      `devices within the ${opened.count} of ${opened.name}`,
      devices,
      undefined,
      "ERR_DEVICES",
    );
  }

  /** @throws {MisconfigurationError} ERR_XLA_STRATEGY for one whose processes exchange gradients themselves. */
  strategyFor(asked: string | Strategy, devices: number): Strategy {
    const shardState = typeof asked === "string" ? SHARDS[asked] : undefined;
    if (asked instanceof XLAStrategy) return asked;
    if (shardState !== undefined) return new XLAStrategy({ devices, shardState });
    throw new MisconfigurationError(
      "Trainer",
      `strategy ${Object.keys(SHARDS)
        .map((name) => JSON.stringify(name))
        .join(", ")} with accelerator ${JSON.stringify(this.name)}`,
      asked,
      "One process drives all devices, and the compiler makes the collectives.",
      "ERR_XLA_STRATEGY",
    );
  }

  /** What computes in float16 has its bfloat16 counterpart here: the precision that differs in nothing else. */
  mapPrecision(name: PrecisionName): { name: PrecisionName; warning?: string } {
    const asked = entryNamed(name);
    if (asked === null) return { name };
    const where = this.name === "tpu" ? "a TPU" : "an XLA device";
    const { compute } = asked.dtypes;
    if (compute === "float64")
      throw new MisconfigurationError(
        "Trainer",
        `precision 32, 16 or "bf16" on ${where}`,
        asked.aliases?.[0] ?? name,
        `${this.name === "tpu" ? "TPUs do not compute in float64" : "Steps are compiled as for TPUs, which do not compute in float64"}; use accelerator: "cpu" for it.`,
        "ERR_PRECISION_TPU_DOUBLE",
      );
    if (compute !== "float16") return { name };
    const instead = availablePrecisions().find((entry) => isCounterpart(entry, asked));
    if (instead === undefined)
      throw new MisconfigurationError(
        "Trainer",
        `a precision without float16 on ${where}`,
        name,
        undefined,
        "ERR_PRECISION_TPU_FLOAT16",
      );
    const only = this.name === "tpu" ? ", its only 16-bit type" : ", as a TPU does";
    const warning = `precision: ${spell(asked)} on ${where} runs bfloat16${only}. Write precision: ${spell(instead)} to say so.`;
    return { name: instead.name, warning };
  }
}

/** Whether `entry` is `asked` with bfloat16 in the place of float16. */
function isCounterpart(entry: PrecisionEntry, asked: PrecisionEntry): boolean {
  const replaced = (value: string | null): string | null => (value === "float16" ? "bfloat16" : value);
  const keys = ["parameters", "compute", "gradients", "optimizerState", "checkpoint"] as const;
  return (
    entry.needs === replaced(asked.needs) && keys.every((key) => entry.dtypes[key] === replaced(asked.dtypes[key]))
  );
}
