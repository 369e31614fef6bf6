/** What `npm run test:ranks` is made of. */
export interface PartOptions {
  readonly seed: number;
  readonly kills: number;
  readonly combinations: number;
  /** Of trainings with kills. Default: 2, 3 or 4, drawn. */
  readonly ranks?: number | undefined;
  readonly say: (text: string) => void;
}

export interface PartResult {
  /** A table of Markdown, of what was done. */
  readonly table: readonly string[];
  /** What went wrong, with what replays it. */
  readonly failures: readonly string[];
}

export interface Part {
  readonly name: string;
  /** A sentence for the log. */
  readonly about: string;
  run(options: PartOptions): Promise<PartResult>;
}
