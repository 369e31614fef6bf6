/** One command of `nbit`: a file each in `commands/`. */
export interface Command {
  readonly name: string;
  /** One line for `nbit help`. */
  readonly summary: string;
  /** Every flag that it takes, with one line for `nbit help`. */
  readonly options: ReadonlyMap<string, string>;
  /** It reads and checks its arguments itself. */
  readonly readsArguments?: boolean;
  /** @returns The exit status. */
  run(args: readonly string[]): Promise<number>;
}
