/** `prepareData`: once for a machine, or once for all, while the other processes wait. */
import { inAll } from "../checkpoint/together.js";
import { isPromise, named } from "../promises.js";
import type { Run } from "../run.js";

/** From one word of a process that waits to the next: less than the time after which it would count as lost. */
const WORD_EVERY = 30_000;

/** @throws in all processes where it fails in one. */
export async function prepareData(run: Run): Promise<void> {
  for (const source of run.data.preparing) {
    const { localRank, globalRank } = run.trainer;
    const mine = source.prepareDataPerNode ? localRank === 0 : globalRank === 0;
    await forAll(run, async () => {
      if (!mine) return;
      const result = run.within("prepareData", () => source.prepareData());
      if (isPromise(result)) await named("prepareData", result);
    });
  }
}

async function forAll({ collectives }: Run, prepare: () => Promise<void>): Promise<void> {
  if (collectives === null) return prepare();
  let done = false;
  const failure: { error: unknown }[] = [];
  const work = prepare().then(
    () => (done = true),
    (error: unknown) => {
      failure.push({ error });
      done = true;
    },
  );
  // However long it takes, nobody waits for more than a word.
  do await soon(work);
  while (!collectives.allGatherObject(done).every(Boolean));
  inAll("prepareData", collectives, () => {
    if (failure[0] !== undefined) throw failure[0].error;
  });
}

/** When the work has ended, or it is time for a word. */
async function soon(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([work, new Promise((resolve) => (timer = setTimeout(resolve, WORD_EVERY)))]);
  } finally {
    clearTimeout(timer);
  }
}
