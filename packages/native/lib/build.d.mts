import type { Progress } from "./setup.d.mts";

export { Progress, SetupError } from "./setup.mjs";

/**
 * Folder of libtorch, of built objects and of whatever else nbit keeps: `NBIT_HOME`, else `nbit` in `XDG_CACHE_HOME` or
 * `~/.cache`.
 */
export function cacheFolder(): string;
/** Makes a folder of the cache, or explains why it cannot. */
export function makeFolder(path: string): string;
/** The command that sets up: `npm run build` in a clone, else `npx nbit setup`. */
export const SETUP_COMMAND: string;

export interface Looked {
  readonly place: string;
  readonly found: string;
}
export interface Compiler {
  readonly program: string;
  readonly version: string;
}
/** The compiler named by `CXX`, else the first of g++, c++, clang++. */
export function findCompiler(): Compiler | null;
/** What is said where there is none; `why` no binary spares one. */
export function noCompiler(place?: string, found?: string, why?: string): Error;
export function findNodeHeaders(): { readonly path: string; readonly hash: string };
/** The file system's own refusals, in the user's terms; other errors pass through as they are. */
export function explainFileError(error: unknown, path: string): unknown;
/** Runs `work` while holding the lock file `path`; `show` says that somebody else holds it. */
export function withLock<T>(
  path: string,
  work: () => Promise<T>,
  show?: (holder: string, wait: () => Promise<void>) => Promise<void>,
): Promise<T>;
/** Output of a program that answers in milliseconds; null when it cannot be run or fails. */
export function ask(program: string, args: readonly string[], env?: NodeJS.ProcessEnv): string | null;
export function inPath(program: string): string | null;

export interface Unit {
  /** Relative to the library's root. */
  readonly source: string;
  readonly flags: readonly string[];
  /** Of all that the object is made of. */
  readonly hash: string;
}
export interface Library {
  readonly name: string;
  readonly root: string;
  readonly units: readonly Unit[];
  readonly link: readonly string[];
  readonly against: string;
  readonly built: string;
  readonly prove?: (file: string) => Promise<void>;
}
/** Compiles what is not in the cache, links it, proves that it is whole, and keeps it. */
export function buildLibrary(library: Library, compiler: Compiler, progress: Progress): Promise<void>;
/** Whether Node.js can load an addon, in a process of its own. */
export function proveAddon(file: string): Promise<void>;

/**
 * The library of this name that was built elsewhere, for this platform and these sources (a hash of them), in the package
 * of binaries; else why there is none.
 */
export function choosePrebuiltLibrary(
  name: string,
  sources: string,
):
  | { readonly path: string; readonly package: string; readonly key: string; readonly reason: null }
  | { readonly reason: string };

export interface InstalledPlaces {
  readonly package: string;
  readonly file: string;
  readonly record: string;
}
/** Copies a built library into a package, and writes down what it was made of. */
export function installInto(places: InstalledPlaces, built: string, facts: { readonly key: string }): void;
/** What was written down, when the copy is whole; else null. */
export function readInstalled(places?: Pick<InstalledPlaces, "file" | "record">): { readonly key: string } | null;

/** What fetches wheels. */
export interface Fetcher {
  readonly tool: "pip" | "uv";
  readonly program: string;
  readonly version: string;
}
/** Python with pip. */
export function findPython(what: string, looked: readonly Looked[]): Fetcher;
/** Refuses a folder without so many bytes left. */
export function checkSpace(folder: string, needed: number): void;
/** What to say of a damaged download, after `work` was removed. */
export function corrupt(work: string, message: unknown): Error;
/** Bytes of all files below a folder. */
export function sizeOf(folder: string): number;
/** The wheels in `folder`, downloaded by pip unless they are there. */
export function download(
  fetcher: Fetcher,
  what: readonly string[],
  folder: string,
  spec: string,
  update: (text: string) => void,
  offer: { readonly code: string; readonly fix: (offered?: string) => string; readonly otherwise: string },
): Promise<string[]>;
/** Unpacks what is wanted of a wheel and checks each file against its RECORD; `work` is forgotten when it is damaged. */
export function unpack(
  wheel: string,
  stage: string,
  work: string,
  update: (text: string) => void,
  wanted: (name: string) => boolean,
): Promise<void>;
