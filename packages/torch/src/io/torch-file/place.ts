/** Where the tensors of a file go: what `mapLocation` says of the device that each was on. */
import { ArgumentError, NbitError } from "../../errors.js";
import { callable, isPlain, such, type Kind } from "../../kinds.js";
import { atMost } from "../../options.js";
import { quoted } from "../../plain-text.js";
import { cudaAvailable } from "../../backend.js";
import { device as deviceOf, type Device, type DeviceLike, type DType } from "../../tensor/index.js";
import { deviceKind } from "../../tensor/kinds.js";
import type { FileFault } from "./errors.js";

/** The memory of tensors in a file, before it is read: what a function given as `mapLocation` is asked about. */
export class LoadedStorage {
  /** Where it will be: the CPU, until it is sent elsewhere. */
  readonly device: Device;
  constructor(
    readonly dtype: DType,
    readonly nbytes: number,
    device: DeviceLike = "cpu",
  ) {
    atMost("LoadedStorage", arguments, 3);
    this.device = deviceOf(device, "LoadedStorage");
  }
  cpu(): LoadedStorage {
    atMost("LoadedStorage.cpu", arguments, 0);
    return this.to("cpu");
  }
  /** @param index - Of the GPU. Default: the current one. */
  cuda(index?: number): LoadedStorage {
    atMost("LoadedStorage.cuda", arguments, 1);
    return this.to(index === undefined ? "cuda" : `cuda:${index}`);
  }
  to(device: DeviceLike): LoadedStorage {
    atMost("LoadedStorage.to", arguments, 1);
    return new LoadedStorage(this.dtype, this.nbytes, device);
  }
}

/**
 * A device for all tensors; devices by the names of those that the tensors were on (`{ "cuda:0": "cpu" }`); or a
 * function of each storage and of its device's name, which returns where it shall be, or null for where it was.
 */
export type MapLocation =
  | DeviceLike
  | Readonly<Record<string, DeviceLike>>
  | ((storage: LoadedStorage, location: string) => LoadedStorage | DeviceLike | null | undefined);

export const mapLocationKind: Kind<MapLocation> = such<MapLocation>(
  'a device such as "cpu", devices by name, or a function of a storage and its device\'s name',
  (v) =>
    deviceKind.accepts(v) ||
    callable.accepts(v) ||
    (isPlain(v) && Object.values(v).every((d) => deviceKind.accepts(d))),
);

/** The device for a storage that was at `location`. */
export function placeOf(
  mapLocation: MapLocation | null,
  storage: LoadedStorage,
  location: string,
  fault: FileFault,
): Device {
  const mapped = mappedTo(mapLocation, storage, location);
  return mapped === null ? original(location, fault) : mapped;
}

function mappedTo(mapLocation: MapLocation | null, storage: LoadedStorage, location: string): Device | null {
  if (mapLocation === null) return null;
  if (typeof mapLocation === "function") {
    const given: unknown = mapLocation(storage, location);
    if (given === null || given === undefined) return null;
    if (given instanceof LoadedStorage) return given.device;
    if (deviceKind.accepts(given)) return deviceOf(given as DeviceLike, "load");
    throw new ArgumentError("load", "mapLocation to return the storage, a device or null", given);
  }
  if (deviceKind.accepts(mapLocation)) return deviceOf(mapLocation as DeviceLike, "load");
  const byName = mapLocation as Readonly<Record<string, DeviceLike>>;
  const found = Object.hasOwn(byName, location) ? byName[location] : undefined;
  return found === undefined ? null : deviceOf(found, "load");
}

/** Where it was, if there is such a place here. */
function original(location: string, fault: FileFault): Device {
  const known = location === "cpu" || location === "meta" || (/^cuda(:\d+)?$/.test(location) && cudaAvailable());
  if (known)
    try {
      return deviceOf(location, "load");
    } catch (error) {
      if (!(error instanceof NbitError)) throw error;
    }
  throw fault(
    "TORCH_FILE_DEVICE",
    `expected tensors of a device that is here. Received: one on ${quoted(location.slice(0, 40))}. Load them elsewhere: load(path, { mapLocation: "cpu" }).`,
  );
}
