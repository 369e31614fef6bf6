/** Devices: one frozen object per type and index, so that `===` compares them. */
import { ArgumentError } from "../errors.js";
import { info } from "../native.js";
import { atMost } from "../options.js";

/** @internal */
export let isDevice: (value: unknown) => value is Device;

export class Device {
  readonly #ours = true;
  static {
    isDevice = (value): value is Device => typeof value === "object" && value !== null && #ours in value;
  }
  readonly type: string;
  readonly index: number | null;
  /** @internal */
  readonly code: number;

  /** @internal Use {@link device}. */
  constructor(type: string, index: number | null, code: number) {
    atMost("Device", arguments, 3);
    this.type = type;
    this.index = index;
    this.code = code;
    Object.freeze(this);
  }
  toString(): string {
    return this.index === null ? this.type : `${this.type}:${this.index}`;
  }
  toJSON(): string {
    return this.toString();
  }
}

export type DeviceLike = Device | string;

const types = info.devices.split(" ");
const byCode = new Map<number, Device>();
const byText = new Map<string, Device>();

/** @internal */
export function deviceOfCode(code: number): Device {
  let found = byCode.get(code);
  if (found === undefined) {
    const index = (code % 256) - 1;
    found = new Device(types[Math.floor(code / 256)] ?? "unknown", index < 0 ? null : index, code);
    byCode.set(code, found);
  }
  return found;
}

/** @internal Code of a device type name, such as "cpu". */
export function deviceTypeCode(type: string, fn = "device"): number {
  const code = types.indexOf(type);
  if (code < 0) throw new ArgumentError(fn, 'a device such as "cpu", "cuda" or "cuda:0"', type);
  return code;
}

/** @internal Whether a text names a device, of whatever index. */
export function isDeviceName(text: string): boolean {
  return types.includes(text.split(":")[0] ?? "");
}

/**
 * The device of a name.
 * @param like - `"cpu"`, `"cuda"` (the current GPU), `"cuda:1"`, `"meta"`, or a Device.
 * @throws {ArgumentError} `device: expected a device such as "cpu", "cuda" or "cuda:0". Received: "gpu".`
 */
export function device(like: DeviceLike, fn = "device"): Device {
  atMost("device", arguments, 2);
  if (isDevice(like)) return like;
  const known = byText.get(like);
  if (known !== undefined) return known;
  const match = typeof like === "string" ? /^([a-z]+)(?::(\d{1,3}))?$/.exec(like) : null;
  if (match === null) throw new ArgumentError(fn, 'a device such as "cpu", "cuda" or "cuda:0"', like);
  const type = deviceTypeCode(match[1] as string, fn);
  const found = deviceOfCode(type * 256 + (match[2] === undefined ? 0 : Number(match[2]) + 1));
  byText.set(like, found);
  return found;
}
