import type { Libtorch } from "./index.d.mts";

/** Base of everything that set-up and loading can refuse: `code` is stable, `fix` is one shell command. */
export class SetupError extends Error {
  readonly code: string;
  readonly problem: string;
  readonly fix: string;
  readonly looked: readonly { readonly place: string; readonly found: string }[];
  /** The command that explains the code. */
  readonly help: string;
}

/** Shows what set-up does: one live line on a terminal, plain lines elsewhere. */
export class Progress {
  constructor(options?: { stream?: NodeJS.WriteStream; quiet?: boolean });
  step<T>(name: string, what: string, work: (update: (text: string, note?: boolean) => void) => Promise<T>): Promise<T>;
  note(text: string): void;
}

/** Which libtorch is wanted. Without these, what is there: `LIBTORCH`, the torch of python3, the cache. */
export interface TorchFlags {
  readonly cpu?: boolean;
  readonly cuda?: boolean;
  /** `2.14`, `2.14.1` or `2.14.1+cu126`. */
  readonly torch?: string;
  /** Folder of wheels to take instead of fetching. */
  readonly wheels?: string;
}
export interface SetupOptions extends TorchFlags {
  progress?: Progress;
}

/**
 * Finds or fetches libtorch, then builds and installs the addon for it, unless that is done.
 *
 * @returns `built` is false when nothing was to do.
 * @throws {SetupError}
 */
export function setupNative(options?: SetupOptions): Promise<{ libtorch: Libtorch; built: boolean }>;

/** Reads `--cpu`, `--cuda`, `--torch`, `--wheels`, `--xla` and `--tpu`, before anything is compiled. */
export function readSetupFlags(args: readonly string[]): {
  readonly which: TorchFlags;
  readonly plugins: { readonly cpu: boolean; readonly tpu: boolean };
};
