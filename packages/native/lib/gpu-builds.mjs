/** Which GPUs the builds of PyTorch for CUDA have kernels for: compared before gigabytes are fetched. */
import { SetupError } from "./errors.mjs";
import { setupWith } from "./torch-choice.mjs";

/**
 * Compute capabilities of PyTorch's wheels for x64, by the CUDA that they were built with. 13: read from the wheel of
 * 2.14.1; 12.6 and 12.8: as PyTorch has announced them since 2.11.
 */
const BUILDS = [
  { cuda: /^(|cu13\d)$/, name: "CUDA 13", capabilities: [7.5, 8.0, 8.6, 9.0, 10.0, 12.0] },
  { cuda: /^cu128$/, name: "CUDA 12.8", capabilities: [7.5, 8.0, 8.6, 9.0, 10.0, 12.0] },
  { cuda: /^cu126$/, name: "CUDA 12.6", capabilities: [5.0, 6.0, 7.0, 7.5, 8.0, 8.6, 9.0] },
];
const OLDER = "cu126";

/** A kernel runs where the major number is its own and the minor one not smaller. */
export function runsOn(capabilities, capability) {
  return capabilities.some((each) => Math.floor(each) === Math.floor(capability) && each <= capability);
}

/**
 * Whether the build for CUDA that a choice leads to has kernels for a GPU of this machine.
 *
 * @param {import("./torch-choice.mjs").Choice} choice
 * @param {readonly { name: string, capability: number }[]} devices
 * @returns {{ usable: boolean, why: string | null }} `why`: which GPU stays idle.
 * @throws {SetupError} NBIT_GPU_UNSUPPORTED where CUDA was asked for by name.
 */
export function compareGpus(choice, devices) {
  const build = BUILDS.find(({ cuda }) => cuda.test(choice.local ?? ""));
  if (build === undefined || devices.length === 0) return { usable: devices.length > 0, why: null };
  const idle = devices.filter(({ capability }) => !runsOn(build.capabilities, capability));
  if (idle.length === 0) return { usable: true, why: null };
  const [first] = idle;
  const problem = `${first.name} has compute capability ${first.capability.toFixed(1)}; PyTorch's builds for ${build.name} have kernels for ${build.capabilities.map((each) => each.toFixed(1)).join(", ")}`;
  if (idle.length < devices.length || choice.device !== "cuda")
    return { usable: idle.length < devices.length, why: problem };
  const other = BUILDS.find(({ cuda }) => cuda.test(OLDER));
  throw new SetupError("NBIT_GPU_UNSUPPORTED", {
    problem: `${problem}. Nothing was fetched.`,
    fix: runsOn(other.capabilities, first.capability)
      ? `${setupWith(`--torch ${exactVersion(choice)}+${OLDER}`)}   # the build for CUDA 12.6; or --cpu`
      : setupWith("--cpu"),
  });
}

function exactVersion({ version }) {
  return /^\d+\.\d+$/.test(version) ? `${version}.0` : version;
}
