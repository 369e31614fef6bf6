/** One file of the fuzz: which subject, which mutations, and what became of reading it. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { draw } from "./mutate.js";
import { Random } from "./random.js";
import { SUBJECTS, type Subject } from "./subjects.js";

/** How many of its mutations a file has at most. */
export const MOST_MUTATIONS = 4;

const TURNS: readonly Subject[] = SUBJECTS.flatMap((subject) => Array.from({ length: subject.weight }, () => subject));

export function subjectOf(index: number): Subject {
  return TURNS[index % TURNS.length] as Subject;
}

const sound = new Map<string, Buffer>();
/** The sound file of a subject, made once. A fuzz of what cannot be read even when sound would find nothing. */
export async function soundFile(subject: Subject, folder: string): Promise<Buffer> {
  let found = sound.get(subject.name);
  if (found === undefined) {
    const place = join(folder, `sound-${sound.size}`);
    mkdirSync(place, { recursive: true });
    const path = join(place, "file");
    await subject.make(path, place);
    found = readFileSync(path);
    const outcome = await attempt(subject, found, place);
    if (!("code" in outcome) || outcome.code !== "ok")
      throw new Error(`${subject.name}: the sound file was not read: ${JSON.stringify(outcome)}`);
    rmSync(place, { recursive: true });
    sound.set(subject.name, found);
  }
  return found;
}

/** The file of an index, with all of its mutations or some. */
export function mutated(
  file: Buffer,
  subject: Subject,
  seed: number,
  index: number,
  keep?: readonly number[],
): { bytes: Buffer; count: number } {
  const mutations = draw(subject.kind, new Random(seed, index));
  let bytes = file;
  for (const [i, mutation] of mutations.entries()) {
    if (keep !== undefined && !keep.includes(i)) continue;
    if (bytes.length > 0) bytes = mutation(bytes, new Random(seed ^ (0x51ed2701 * (i + 1)), index));
  }
  return { bytes, count: mutations.length };
}

/** "ok", the code of an error, or what is wrong. */
export type Outcome = { readonly code: string; readonly message?: string } | { readonly wrong: string };

export async function attempt(subject: Subject, bytes: Buffer, folder: string): Promise<Outcome> {
  const path = join(folder, "file");
  writeFileSync(path, bytes);
  try {
    await subject.read(path, folder);
    return { code: "ok" };
  } catch (error) {
    return isCoded(error)
      ? { code: error.code, message: error.message }
      : {
          wrong: `an error without a code: ${error instanceof Error ? (error.stack ?? error.message).split("\n").slice(0, 6).join("\n") : String(error)}`,
        };
  }
}

function isCoded(error: unknown): error is Error & { readonly code: string } {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    /^[A-Z][A-Z0-9_]+$/.test(error.code) &&
    ![Error, TypeError, RangeError, SyntaxError, ReferenceError].some((plain) => error.constructor === plain)
  );
}
