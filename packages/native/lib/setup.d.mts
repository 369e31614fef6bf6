import type { Libtorch } from "./index.d.mts";

/** Base of everything that set-up and loading can refuse: `code` is stable, `fix` is one shell command. */
export class SetupError extends Error {
  readonly code: string;
  readonly problem: string;
  readonly fix: string;
  readonly looked: readonly { readonly place: string; readonly found: string }[];
}

/** Shows what set-up does: one live line on a terminal, plain lines elsewhere. */
export class Progress {
  constructor(options?: { stream?: NodeJS.WriteStream; quiet?: boolean });
  step<T>(name: string, what: string, work: (update: (text: string) => void) => Promise<T>): Promise<T>;
  note(text: string): void;
}

/**
 * Finds or fetches libtorch, then builds and installs the addon for it, unless that is done.
 *
 * @returns `built` is false when nothing was to do.
 * @throws {SetupError}
 */
export function setupNative(options?: { progress?: Progress }): Promise<{ libtorch: Libtorch; built: boolean }>;
