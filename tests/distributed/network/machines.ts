/** Machines that are network namespaces, each with a cable to a switch. */
import { spawnSync } from "node:child_process";

function ip(...args: string[]): void {
  const { status, stderr, error } = spawnSync("ip", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${error?.message ?? stderr}`);
}

export class Machines {
  readonly #id = `nbit${process.pid}`;
  readonly #count: number;

  /** @throws where this process may not make namespaces, or this system has no `ip`. */
  constructor(count: number) {
    this.#count = count;
    ip("netns", "add", this.#switch);
    ip("-n", this.#switch, "link", "add", "hub", "type", "bridge");
    ip("-n", this.#switch, "link", "set", "hub", "up");
    for (let i = 0; i < count; i++) {
      ip("netns", "add", this.name(i));
      ip("-n", this.#switch, "link", "add", `port${i}`, "type", "veth", "peer", "name", "cable", "netns", this.name(i));
      ip("-n", this.#switch, "link", "set", `port${i}`, "master", "hub");
      ip("-n", this.#switch, "link", "set", `port${i}`, "up");
      ip("-n", this.name(i), "addr", "add", `${this.address(i)}/24`, "dev", "cable");
      for (const device of ["lo", "cable"]) ip("-n", this.name(i), "link", "set", device, "up");
    }
  }

  get #switch(): string {
    return `${this.#id}-switch`;
  }
  name(i: number): string {
    return `${this.#id}-${i}`;
  }
  address(i: number): string {
    return `10.77.31.${i + 1}`;
  }
  /** What runs a program there. */
  prefix(i: number): readonly string[] {
    return ["ip", "netns", "exec", this.name(i)];
  }
  cut(i: number): void {
    ip("-n", this.#switch, "link", "set", `port${i}`, "down");
  }
  mend(i: number): void {
    ip("-n", this.#switch, "link", "set", `port${i}`, "up");
  }
  /** Local addresses on which anybody listens in a machine, as /proc/net has them. */
  listening(i: number): string[] {
    const { stdout } = spawnSync("ip", ["netns", "exec", this.name(i), "cat", "/proc/net/tcp", "/proc/net/tcp6"], {
      encoding: "utf8",
    });
    return stdout
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === "0A")
      .map((fields) => fields[1]?.split(":")[0] ?? "");
  }
  remove(): void {
    for (const name of [this.#switch, ...Array.from({ length: this.#count }, (_, i) => this.name(i))])
      spawnSync("ip", ["netns", "del", name]);
  }
}
