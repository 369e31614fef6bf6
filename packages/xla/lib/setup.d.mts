import type { Progress } from "@nbit/native/build";

/** A place where a plugin was looked for, and what was there. */
export interface PluginPlace {
  /** What it would run on; null where nobody knows before it is loaded. */
  readonly platform: "cpu" | "tpu" | null;
  readonly place: string;
  readonly found: string;
  /** The file, where there is one. */
  readonly path: string | null;
}

export interface SetupXlaOptions {
  readonly progress?: Progress;
  /** Fetch tensorflow-cpu and build the CPU plugin over the XLA in it. */
  readonly cpu?: boolean;
  /** Fetch libtpu. */
  readonly tpu?: boolean;
}
/**
 * Builds the host of plugins, and fetches and builds what was asked for, unless that is done.
 * @throws {SetupError} With a stable code and the command that fixes it.
 */
export function setupXla(options?: SetupXlaOptions): Promise<void>;

/**
 * Every place where a plugin is looked for, in order: `PJRT_PLUGIN_LIBRARY_PATH`, what set-up fetched and built, Python's
 * libtpu.
 */
export function pluginPlaces(): PluginPlace[];

export interface PluginReport extends PluginPlace {
  /** Version of the PJRT API that it speaks; null where it was not loaded. */
  readonly api: { readonly major: number; readonly minor: number } | null;
  /** What is wrong with it, or with the host that loads it. */
  readonly problem: string | null;
}
/**
 * The same, and what each plugin that is there says of itself. Each is loaded in a process of its own, so that nothing
 * stays in this one. Never rejects.
 */
export function examinePlugins(): Promise<PluginReport[]>;
