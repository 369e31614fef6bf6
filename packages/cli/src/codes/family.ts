/** The one table of all codes that nbit's errors and warnings have. Documentation and `nbit explain-error` read it. */

export interface Code {
  /** What the code says, in a sentence or two. */
  readonly means: string;
  /** What usually leads to it. */
  readonly cause: string;
  /** What to do. */
  readonly fix: string;
  /** The class of the error, where it is not the family's. */
  readonly by?: string;
  /** Folders of the packages that raise it, where they are not the family's. */
  readonly in?: readonly string[];
  /** A program that raises it. Tests run it. */
  readonly example?: string;
}

export interface Family {
  /** Its page: `docs/errors/<name>.md`. */
  readonly name: string;
  readonly title: string;
  /** One line below the title. */
  readonly brief: string;
  readonly by: string;
  readonly in: readonly string[];
  readonly codes: Readonly<Record<string, Code>>;
}

export function family(
  name: string,
  about: Omit<Family, "name" | "codes">,
  codes: Readonly<Record<string, Code>>,
): Family {
  return { name, ...about, codes };
}
