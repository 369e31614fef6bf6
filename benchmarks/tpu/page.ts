/** The page of what was compiled for TPUs. */
import type { AheadProgramReport } from "@nbit/lightning";
import type { JaxProgram } from "./jax.js";

export interface Row {
  readonly model: string;
  readonly topology: string;
  readonly devices: number;
  readonly kind: string;
  readonly deviceMemory: number | null;
  readonly precision: string;
  readonly shardState: boolean;
  readonly program: Omit<AheadProgramReport, "kinds">;
  readonly jax: JaxProgram | null;
}

export interface Results {
  readonly date: string;
  readonly compiler: string;
  readonly jax: string | null;
  readonly rows: readonly Row[];
}

const digits = (n: number, least: number): string => (n >= 10 ** least ? n.toFixed(0) : n.toPrecision(least));
const mega = (n: number | null): string => (n === null ? "" : digits(n / 1e6, 4));
const mib = (n: number | undefined): string => (n === undefined ? "" : digits(n / 2 ** 20, 3));
const ratio = (a: number | null, b: number | null | undefined): string =>
  a === null || b === null || b === undefined || b <= 0 ? "" : (a / b).toFixed(2);

export function page({ date, compiler, jax, rows }: Results): string {
  const cells = rows.map(({ model, topology, devices, precision, shardState, program, jax: theirs }) => {
    const { memory, flops, bytesAccessed, operators, seconds, collectives } = program;
    const made = Object.entries(collectives).map(([kind, n]) => `${n} ${kind}`);
    return [
      model,
      topology,
      String(devices),
      shardState ? `${precision}, fsdp` : precision,
      String(operators),
      seconds.toFixed(1),
      mib(memory?.peak),
      mib(memory?.arguments),
      mib(memory?.code),
      mega(flops),
      mega(bytesAccessed),
      program.estimatedSeconds === null ? "" : digits(program.estimatedSeconds * 1e6, 3),
      made.join(", "),
      // Another number of devices shares the batch otherwise.
      theirs?.devices === devices ? ratio(flops, theirs.flops) : "",
      theirs?.devices === devices ? ratio(bytesAccessed, theirs.bytesAccessed) : "",
      theirs?.devices === devices ? ratio(program.estimatedSeconds, theirs.estimatedSeconds) : "",
    ];
  });
  const head = [
    ...["model", "topology", "devices", "precision", "operators", "compile, s"],
    ...["peak, MiB", "arguments, MiB", "code, MiB", "MFLOP", "MB accessed", "estimate, µs"],
    ...["collectives", "FLOP : JAX", "bytes : JAX", "estimate : JAX"],
  ];
  const line = (row: readonly string[]): string => `| ${row.join(" | ")} |`;
  return `# Training steps compiled for TPUs, ${date}

Whole training steps (forward, backward, optimizer) that Google's compiler compiled for chips that were not there: \`npm run check:tpu\`. **None of them has run on a TPU.** Numbers are those of each device, and the compiler's own. Devices of v4 are cores, of which a chip has two.

Compiler: ${compiler}.${jax === null ? " JAX was not compared." : ` JAX ${jax}, with the same libtpu: the last three columns are nbit's figure divided by that of JAX's program of the same model, float32 products in float32 in both, no excess precision in either. They are empty where JAX has no such model or counts another number of devices.`}

${[head, head.map((_, i) => (i < 2 || i === 3 || i === 12 ? "---" : "---:")), ...cells].map(line).join("\n")}

Beside the arguments, \`peak\` has what a step needs at once. The batch is split among the devices; with "fsdp" parameters and optimizer state are, too. The estimate is the time of a step by the compiler's model of the chip, without calls whose time it does not know. The CNN in float32 is not among the rows: its float32 convolutions, which are six products of bfloat16 each, took the compiler more than three minutes and 12 GB of memory, and were given up; bfloat16 compiles in seconds.
`;
}
