/** Starts processes that train together, and looks after them until the last has ended. */
import { constants } from "node:os";
import { listOf, such, text } from "../../kinds.js";
import { atMost, checkArguments } from "../../options.js";
import { isError } from "../../realm.js";
import { Attempt, type Failure } from "./attempt.js";
import { Guard } from "./guard.js";
import { listen, type Listener } from "./listener.js";
import { LogFiles } from "./log-files.js";
import { checkCommand, settle, type LaunchOptions, type Settings } from "./options.js";
import { Screen } from "./screen.js";
import { setupOf, type Place } from "./setup.js";

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
 * behind when it is killed end as well.
 *
 * @param command - A program and its arguments, the same for every rank.
 * @param options.n - Processes of this machine; for the others see {@link LaunchOptions}.
 * @returns 0 when all ranks have ended well; else the exit code of the first that failed, or 128 + the number of the
 * signal that ended it.
 * @throws {ArgumentError} before anything starts: `ERR_ARGUMENT`; `ERR_LAUNCH_COMMAND`, no such program;
 * `ERR_LAUNCH_PORT`, the port is taken; `ERR_LAUNCH_HOST`, no such host.
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

const ENDING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** @internal The same, of a command for each local rank, with options that are settled. */
export async function supervise(
  commandOf: (localRank: number) => readonly string[],
  settings: Settings,
): Promise<number> {
  let listener = await listenFor(settings); // before anything else: a taken port starts nothing
  const screen = new Screen();
  const guard = new Guard();
  const ranks = Array.from({ length: settings.n }, (_, i) => settings.nodeRank * settings.n + i);
  let current: Attempt | null = null;
  let asked: NodeJS.Signals | null = null;
  let killed = false;
  let logs: LogFiles | null = null;
  const onEnding = (signal: NodeJS.Signals): void => {
    if (asked === null) {
      asked = signal;
      current?.forward(signal);
    } else {
      killed = true;
      current?.kill();
    }
  };
  const onResize = (): void => current?.relay("SIGWINCH");
  const onStop = (): void => {
    current?.relay("SIGSTOP");
    process.kill(process.pid, "SIGSTOP");
  };
  const onContinue = (): void => current?.relay("SIGCONT");
  const handlers: readonly (readonly [NodeJS.Signals, (signal: NodeJS.Signals) => void])[] = [
    ...ENDING.map((signal) => [signal, onEnding] as const),
    ["SIGWINCH", onResize],
    ["SIGTSTP", onStop],
    ["SIGCONT", onContinue],
  ];
  for (const [signal, handler] of handlers) process.on(signal, handler);
  try {
    if (settings.logDir !== null)
      logs = new LogFiles(settings.logDir, ranks, (error) =>
        screen.say(`${isError(error) ? error.message : String(error)} Logs end here.`),
      );
    for (let restart = 0; ; restart++) {
      const place: Place = { settings, listener, restart, port: listener?.port ?? settings.masterPort };
      const setups = ranks.map((_, localRank) => setupOf(place, localRank, commandOf(localRank), screen, logs));
      const attempt: Attempt = new Attempt(setups, guard, settings.graceMs, () => listener?.close());
      current = attempt;
      const failure = await attempt.done;
      current = null;
      if (failure === null) return 0;
      const interrupted = interruptedBy();
      if (interrupted !== null && attempt.endedAsAsked)
        return killed ? 128 + constants.signals[interrupted] : failure.code;
      const reason = textOf(failure);
      if (restart === settings.maxRestarts || interrupted !== null) {
        if (setups.length * settings.nnodes > 1 || failure.signal !== null) screen.conclude(reason, failure.rank);
        return failure.code;
      }
      screen.say(`${reason}; all ranks start again (restart ${restart + 1} of ${settings.maxRestarts})`);
      screen.forget();
      listener = await listenFor(settings);
    }
  } finally {
    for (const [signal, handler] of handlers) process.removeListener(signal, handler);
    listener?.close();
    logs?.close();
    screen.close();
    await guard.close();
  }

  /** TypeScript does not see that the handler sets it. */
  function interruptedBy(): NodeJS.Signals | null {
    return asked;
  }
}

/** The store's socket, on the machine of rank 0. Other machines reach it by any address of this one. */
async function listenFor({ nnodes, nodeRank, masterAddr, masterPort }: Settings): Promise<Listener | null> {
  return nodeRank === 0 ? listen(nnodes === 1 ? masterAddr : null, masterPort) : null;
}

function textOf({ rank, pid, code, signal, error }: Failure): string {
  if (error !== null) return `rank ${rank} could not be started: ${error.message}`;
  const who = `rank ${rank} (process ${pid})`;
  if (signal === null) return `${who} ended with exit code ${code}`;
  return `${who} was ended by ${signal}${signal === "SIGKILL" ? ", as the kernel does when memory runs out" : ""}`;
}
