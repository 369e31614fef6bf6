import type { Libtorch, NativeInfo } from "./index.d.mts";

export interface DoctorReport {
  readonly nbit: string;
  readonly node: { readonly version: string; readonly path: string; readonly headers: string | null };
  readonly platform: string;
  readonly cache: string;
  readonly python: { readonly path: string; readonly version: string; readonly pip: string | null } | null;
  readonly compiler: { readonly program: string; readonly version: string } | null;
  readonly libtorch: Libtorch | null;
  /** Every place that was looked at for libtorch, in order, and what was there. */
  readonly looked: readonly { readonly place: string; readonly found: string }[];
  /** The addon that was built elsewhere for this libtorch, or why none serves; null without a libtorch. */
  readonly binary: string | null;
  readonly addon: {
    readonly state: "loads" | "broken" | "missing";
    readonly path: string;
    readonly detail: string;
    /** What libtorch says of itself; null when the addon does not load. */
    readonly info: NativeInfo | null;
    readonly threads: { readonly intraOp: number; readonly interOp: number } | null;
  };
  readonly cpu: {
    readonly model: string;
    readonly cores: number;
    /** Cores that this process may use. */
    readonly available: number;
    /** Bytes. */
    readonly memory: number;
    /** Instruction sets that matter here, as Linux spells them. */
    readonly features: readonly string[];
    /** The instructions that compute in this type natively, or null. */
    readonly bfloat16: string | null;
    readonly float16: string | null;
    /** Whether oneDNN's 512-bit kernels run. */
    readonly wide: boolean;
    /** The instruction set of libtorch's own kernels; null when the addon does not load. */
    readonly kernels: string | null;
  };
  readonly gpus: {
    readonly driver: string | null;
    readonly devices: readonly { readonly name: string; readonly capability: number; readonly memory: string }[];
  };
  readonly precisions: readonly { readonly precision: string; readonly cpu: string; readonly gpu: string | null }[];
  /** Empty when everything is in place. */
  readonly problems: readonly { readonly code: string; readonly problem: string; readonly fix: string }[];
}

/**
 * Looks at everything and changes nothing, except that a binary is put in its place, as by the first import. What is missing or broken is in `problems`;
 * it does not throw for that.
 */
export function examine(): Promise<DoctorReport>;

/** The report as text for a terminal. */
export function renderReport(report: DoctorReport): string;
