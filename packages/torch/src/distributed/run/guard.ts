/** Ends the ranks when this process is killed in a way that it cannot notice. */
import { spawn, type ChildProcess } from "node:child_process";

/**
 * Reads process groups, a line with all that run now; the end of its input means that their supervisor is gone. After
 * an empty line nothing runs.
 */
const SCRIPT = `
trap '' INT TERM HUP
while read -r line; do groups=$line; done
for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
[ -z "$groups" ] || sleep 2
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
`;

export class Guard {
  readonly #shell: ChildProcess;
  readonly #groups = new Set<number>();

  constructor() {
    this.#shell = spawn("/bin/sh", ["-c", SCRIPT], { stdio: ["pipe", "ignore", "ignore"], detached: true, cwd: "/" });
    // Without a shell there is no guard, and everything else works.
    this.#shell.on("error", () => undefined);
    this.#shell.stdin?.on("error", () => undefined);
    this.#shell.unref();
  }

  add(group: number): void {
    this.#groups.add(group);
    this.#tell();
  }

  delete(group: number): void {
    this.#groups.delete(group);
    this.#tell();
  }

  close(): Promise<void> {
    this.#groups.clear();
    this.#tell();
    return new Promise((resolve) => {
      if (this.#shell.exitCode !== null || this.#shell.pid === undefined) {
        resolve();
        return;
      }
      this.#shell.ref();
      this.#shell.once("exit", () => resolve());
      this.#shell.stdin?.end();
    });
  }

  #tell(): void {
    this.#shell.stdin?.write(`${[...this.#groups].join(" ")}\n`);
  }
}
