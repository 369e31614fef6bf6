/** Starts processes that train together, and looks after them until the last has ended. */
import { listOf, such, text } from "../../kinds.js";
import { atMost, checkArguments } from "../../options.js";
import { isError } from "../../realm.js";
import { Attempt, type Failure } from "./attempt.js";
import { Guard } from "./guard.js";
import { Interrupted, SignalHandling } from "./signals.js";
import { joinMachines } from "./join-machines.js";
import { LogFiles } from "./log-files.js";
import { LostMachineError } from "./machine-link.js";
import type { Machines } from "./machines.js";
import { checkCommand, settle, type LaunchOptions, type Settings } from "./options.js";
import { Screen } from "./screen.js";
import { setupOf } from "./setup.js";

const runnable = such<readonly string[]>(
  'a program and its arguments, such as [process.execPath, "train.js"]',
  (value) => listOf(text).accepts(value) && Array.isArray(value) && value.length > 0,
);

/**
 * Runs a command once per rank, and waits for all of them.
 *
 * Every rank gets torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_RANK, MASTER_ADDR,
 * MASTER_PORT, TORCHELASTIC_RESTART_COUNT, and OMP_NUM_THREADS where it is not set: the cores, shared out), which
 * {@link clusterEnvironment} reads. The port of the store is bound here and handed to rank 0, so that nobody else can
 * take it.
 *
 * Rank 0 writes to the stdout of this process itself; whole lines of everything else appear with their rank before
 * them. The first rank that fails ends the others at once, and what it wrote at last stands last. SIGINT, SIGTERM and
 * SIGHUP are handed on, and the ranks end in their own time; a second one kills them. Ranks that this process leaves
 * behind when it is killed end as well. Of several machines each calls this once, and they act as one.
 *
 * @param command - A program and its arguments, the same for every rank.
 * @param options.n - Processes of this machine; for the others see {@link LaunchOptions}.
 * @returns 0 when all ranks have ended well; else the exit code of the first that failed, or 128 + the number of the
 * signal that ended it.
 * @throws {ArgumentError} before anything starts: `ERR_ARGUMENT`; `ERR_LAUNCH_COMMAND`, no such program;
 * `ERR_LAUNCH_PORT`, the port is taken; `ERR_LAUNCH_HOST`, no such host; `ERR_LAUNCH_MACHINES`, machines that do not
 * agree.
 * @example
 * process.exitCode = await launch([process.execPath, "train.js"], { n: 2 });
 */
export async function launch(command: readonly string[], options: LaunchOptions): Promise<number> {
  atMost("launch", arguments, 2);
  checkArguments("launch", { command }, { command: runnable });
  const settings = await settle("launch", options);
  checkCommand("launch", command, settings);
  return supervise(() => command, settings);
}

/** @internal The same, of a command for each local rank, with options that are settled. */
export async function supervise(
  commandOf: (localRank: number) => readonly string[],
  settings: Settings,
): Promise<number> {
  const signals = new SignalHandling();
  const screen = new Screen();
  let guard: Guard | null = null;
  let logs: LogFiles | null = null;
  let machines: Machines | null = null;
  try {
    machines = await joinMachines(settings, {
      stop: () => signals.attempt?.end(),
      signal: (signal) => signals.relayed(signal),
      say: (text) => screen.say(text),
    });
    signals.listen(machines);
    guard = new Guard();
    for (;;) {
      const start = await machines.start();
      const ranks = Array.from({ length: settings.n }, (_, localRank) => start.firstRank + localRank);
      if (settings.logDir !== null)
        logs ??= new LogFiles(settings.logDir, ranks, (error) => screen.say(`${messageOf(error)} Logs end here.`));
      const setups = ranks.map((_, localRank) =>
        setupOf(settings, start, localRank, commandOf(localRank), screen, logs),
      );
      const attempt: Attempt = new Attempt(
        setups,
        guard,
        settings,
        () => start.listener?.close(),
        (failure) => machines?.failed(failure.code, textOf(failure)),
      );
      signals.attempt = attempt;
      const code = await attempt.done;
      signals.attempt = null;
      const verdict = await machines.ended(code);
      if (verdict.again) {
        screen.say(
          `${verdict.reason}; all ranks start again (restart ${start.restart + 1} of ${settings.maxRestarts})`,
        );
        screen.forget();
        continue;
      }
      if (verdict.reason === null) return signals.killedBy ?? verdict.code;
      const own = attempt.failure;
      if (own !== null && verdict.reason.startsWith(textOf(own))) {
        if (start.worldSize > 1 || own.signal !== null) screen.conclude(verdict.reason, own.rank);
      } else screen.say(verdict.reason);
      return verdict.code;
    }
  } catch (error) {
    if (error instanceof LostMachineError) {
      screen.say(error.message);
      return 1;
    }
    if (error instanceof Interrupted) return error.code;
    throw error;
  } finally {
    signals.close();
    machines?.close();
    logs?.close();
    screen.close();
    await guard?.close();
  }
}

const messageOf = (error: unknown): string => (isError(error) ? error.message : String(error));

function textOf({ rank, pid, code, signal, error }: Failure): string {
  if (error !== null) return `rank ${rank} could not be started: ${error.message}`;
  const who = `rank ${rank} (process ${pid})`;
  if (signal === null) return `${who} ended with exit code ${code}`;
  return `${who} was ended by ${signal}${signal === "SIGKILL" ? ", as the kernel does when memory runs out" : ""}`;
}
