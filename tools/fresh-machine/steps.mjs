/** Named steps with their minutes, and a log of all that was said. */
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export class Steps {
  /** @param {string} log File that everything is written to. */
  constructor(log) {
    this.log = log;
    this.rows = [];
    mkdirSync(dirname(log), { recursive: true });
    rmSync(log, { force: true });
    writeFileSync(log, "");
  }

  /**
   * @template T
   * @param {string} name
   * @param {() => T | Promise<T>} work
   * @returns {Promise<T>}
   */
  async step(name, work) {
    const began = performance.now();
    appendFileSync(this.log, `\n== ${name}\n`);
    try {
      return await work();
    } finally {
      const seconds = (performance.now() - began) / 1000;
      this.rows.push([name, seconds]);
      console.log(`  ${minutes(seconds).padStart(12)}  ${name}`);
    }
  }

  /**
   * Runs a command in a root; one that fails ends everything, with the last of what it said.
   *
   * @param {string} name
   * @param {import("./root.mjs").Root} root
   * @param {string} command
   * @param {Omit<Parameters<import("./root.mjs").Root["run"]>[1], "log">} options
   * @returns {Promise<string>} What it said.
   */
  command(name, root, command, options) {
    return this.step(name, async () => {
      const { status, output } = await root.run(command, { ...options, log: this.log });
      if (status === 0) return output;
      const last = output.trimEnd().split("\n").slice(-40).join("\n");
      throw new Error(`"${name}" ended with status ${status}. Its last lines (all: ${this.log}):\n${last}`);
    });
  }

  /** The sum of all minutes. */
  total() {
    return minutes(this.rows.reduce((sum, [, seconds]) => sum + seconds, 0));
  }
}

export function minutes(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2)} s`;
}
