import { device } from "@nbit/torch";
import type { Device } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { availablePrecisions, entryNamed, spell } from "../precision/catalogue.js";
import type { PrecisionEntry } from "../precision/entry.js";
import type { PrecisionName } from "../precision/names.js";
import type { Accelerator, DeviceSupport } from "./accelerator.js";

/** Tensor processing units, through an XLA backend of libtorch. bfloat16 is their only 16-bit type. */
export class TPUAccelerator implements Accelerator {
  readonly name = "tpu";

  missing(): string {
    return 'an XLA backend of libtorch (torch_xla), which this build does not have. Train on accelerator: "cpu" or "cuda", where precision: "bf16" computes as a TPU would';
  }

  deviceCount(): number {
    return 0;
  }

  device(index: number): Device {
    return device(`xla:${index}`);
  }

  support(): DeviceSupport {
    return { float16: false, bfloat16: true, float8: false, description: "TPU" };
  }

  /** What computes in float16 has its bfloat16 counterpart here: the precision that differs in nothing else. */
  mapPrecision(name: PrecisionName): { name: PrecisionName; warning?: string } {
    const asked = entryNamed(name);
    if (asked === null) return { name };
    const { compute } = asked.dtypes;
    if (compute === "float64") {
      const received = asked.aliases?.[0] ?? name;
      const fix = 'TPUs do not compute in float64; use accelerator: "cpu" for it.';
      throw new MisconfigurationError(
        "Trainer",
        'precision 32, 16 or "bf16" on a TPU',
        received,
        fix,
        "ERR_PRECISION_TPU_DOUBLE",
      );
    }
    if (compute !== "float16") return { name };
    const instead = availablePrecisions().find((entry) => isCounterpart(entry, asked));
    if (instead === undefined) {
      throw new MisconfigurationError(
        "Trainer",
        "a precision without float16 on a TPU",
        name,
        undefined,
        "ERR_PRECISION_TPU_FLOAT16",
      );
    }
    const warning = `precision: ${spell(asked)} on a TPU runs bfloat16, its only 16-bit type. Write precision: ${spell(instead)} to say so.`;
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
