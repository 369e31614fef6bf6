/** The command as a shell runs it: warnings and errors as lines of a terminal. Only the executable imports it. */
import { main } from "./main.js";
import { errorText } from "./terminal/errors.js";
import { showWarnings } from "./terminal/warnings.js";

export async function shell(args: readonly string[]): Promise<number> {
  showWarnings();
  const everything = args.includes("--verbose") || !["", "0", undefined].includes(process.env["NBIT_STACK"]);
  const end = (error: unknown): void => {
    process.stderr.write(`${errorText(error, everything)}\n`);
  };
  // `nbit validate … | head` has read enough.
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  // What a program throws where nobody waits for it ends the process, as ever.
  process.on("uncaughtException", (error) => {
    end(error);
    process.exit(1);
  });
  try {
    return await main(args);
  } catch (error) {
    end(error);
    return 1;
  }
}
