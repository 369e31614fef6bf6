/**
 * Pins the arithmetic of libtorch on the CPU, so that fixtures made on one x86-64 machine hold on another. Import it
 * before "@nbit/torch" (modules run in the order of their imports; libtorch reads these variables when it is loaded).
 * The Python twin is tests/parity/reproducible_env.py; both sides must say the same.
 *
 * Each variable is needed: without it the part named picks its kernels, and so the order of additions, by the processor
 * it finds.
 */
export const environment = {
  /** ATen's own vectorised kernels: pointwise, reductions, normalisation, softmax, random. */
  ATEN_CPU_CAPABILITY: "avx2",
  /** oneDNN: convolutions, and matrix products in bfloat16 where the processor has them. */
  ONEDNN_MAX_CPU_ISA: "AVX2",
  /** MKL: matrix products, LAPACK, FFT. */
  MKL_CBWR: "COMPATIBLE",
  /** One thread: a parallel reduction splits by thread count. */
  OMP_NUM_THREADS: "1",
  MKL_NUM_THREADS: "1",
} as const;

Object.assign(process.env, environment);

export interface FixtureOrigin {
  readonly torch: string;
  readonly capability: string;
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Why fixtures of `origin` cannot be compared bit for bit here; null when they can. A test that must skip says this
 * sentence. A different libtorch release may sum in another order; a processor without AVX2 cannot run the recorded
 * kernels.
 */
export function incomparable(
  origin: FixtureOrigin,
  here: { readonly libtorch: string; readonly capability: string },
): string | null {
  for (const [name, value] of Object.entries(origin.environment)) {
    if (process.env[name] !== value)
      return `fixtures were made with ${name}=${value}, here it is ${process.env[name] ?? "not set"}`;
  }
  const version = here.libtorch.split("+")[0] ?? here.libtorch;
  if (version !== origin.torch)
    return `fixtures were made with libtorch ${origin.torch}, this is ${version}: run make_fixtures.py with that PyTorch`;
  if (here.capability !== origin.capability)
    return `fixtures were made with ${origin.capability} kernels, this processor runs ${here.capability}: run make_fixtures.py on it`;
  return null;
}
