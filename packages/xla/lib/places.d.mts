import type { PluginPlace } from "./setup.d.mts";
/** The installed host of plugins, and what is written down of it. */
export const installed: { readonly package: string; readonly file: string; readonly record: string };
/** The CPU plugin that set-up builds, whether or not it is there. */
export function cpuPluginPath(): string;
/** libtpu as set-up fetches it, whether or not it is there. */
export function libtpuPath(): string;
export interface Wheel {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
}
export const packageFolder: string;
export const TENSORFLOW: Wheel;
export const LIBTPU: Wheel;
/** Where a wheel is unpacked. */
export function folderOf(wheel: Wheel): string;
export function pluginPlaces(): PluginPlace[];
