/** What the doctor found, as text for a terminal. */

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

function software({ nbit, platform, cache, node, python, compiler, libtorch, binary, addon }) {
  return [
    ["nbit", nbit],
    ["Node.js", `${node.version.slice(1)} (${platform}, ${node.path})`],
    ["Node-API", node.headers ?? "headers not found"],
    [
      "python3",
      python === null
        ? "not in PATH (needed only to fetch libtorch)"
        : `${python.version.replace("Python ", "")} (${python.path}), ${python.pip ?? "no pip (needed only to fetch libtorch)"}`,
    ],
    ["compiler", compiler === null ? "none" : compiler.version],
    [
      "libtorch",
      libtorch === null
        ? "none"
        : `${libtorch.version} (${libtorch.variant}) from ${libtorch.origin}: ${libtorch.path}`,
    ],
    ["binary", binary ?? "none without a libtorch"],
    ["addon", `${addon.state}: ${addon.detail}`],
    ["cache", cache],
  ];
}

function places({ looked }) {
  return looked.length > 0
    ? looked.map(({ place, found }) => [place, found])
    : [["LIBTORCH", process.env["LIBTORCH"] ?? "not set"]];
}

function processor({ cpu, addon: { info, threads } }) {
  const yesOrNo = (value) => (value ? "yes" : "no");
  return [
    ["model", `${cpu.model}, ${cpu.available} of ${cpu.cores} cores, ${(cpu.memory / 2 ** 30).toFixed(0)} GiB`],
    ["instructions", cpu.features.length > 0 ? cpu.features.join(" ") : "unknown"],
    ["bfloat16", cpu.bfloat16 ?? "not native"],
    ["float16", cpu.float16 ?? "not native"],
    [
      "libtorch",
      info === null
        ? "not loaded"
        : `${info.cpuCapability} kernels${info.cpuCapability === "DEFAULT" ? " (no AVX2: slower, same results within rounding)" : ""}, oneDNN ${yesOrNo(info.mkldnn)}, MKL ${yesOrNo(info.mkl)}`,
    ],
    [
      "threads",
      threads === null
        ? "not loaded"
        : `${threads.intraOp} in an operator, ${threads.interOp} between operators; OMP_NUM_THREADS ${process.env["OMP_NUM_THREADS"] ?? "not set"}`,
    ],
  ];
}

function gpu({ gpus, addon: { info } }) {
  const seen = info?.cuda ? `sees ${plural(info.cudaDevices, "device")}` : "built for CPUs";
  return [
    ["driver", gpus.driver ?? "none (NVIDIA)"],
    ...gpus.devices.map((d, i) => [
      `cuda:${i}`,
      `${d.name}, compute capability ${d.capability.toFixed(1)}, ${d.memory}`,
    ]),
    ["libtorch", info === null ? "not loaded" : seen],
  ];
}

function section(title, rows) {
  const width = Math.max(...rows.map(([label]) => label.length));
  return [title, ...rows.map(([label, text]) => `  ${label.padEnd(width)}  ${text}`), ""];
}

function precisions({ precisions: rows }) {
  const columns = rows.some((row) => row.gpu !== null) ? ["precision", "cpu", "gpu"] : ["precision", "cpu"];
  const width = (column) => Math.max(column.length, ...rows.map((row) => (row[column] ?? "").length));
  const line = (row) => `  ${columns.map((c) => (row[c] ?? "").padEnd(width(c))).join("  ")}`.trimEnd();
  const heads = Object.fromEntries(columns.map((c) => [c, c]));
  return ["What each precision runs on", ...[heads, ...rows].map(line), ""];
}

/** What most people ask for, before all that it stands on. */
function verdict({ problems, libtorch, gpus, cpu }) {
  if (problems.length === 0) {
    const [gpu] = gpus.devices;
    const where =
      gpu === undefined || !libtorch?.cuda
        ? `the CPU, ${cpu.model}`
        : `${plural(gpus.devices.length, "GPU")}, ${gpu.name}`;
    return [`Everything is in place: libtorch ${libtorch?.version ?? ""} computes on ${where}.`, ""];
  }
  const what = problems.length === 1 ? "One thing is" : `${problems.length} things are`;
  return [
    `${what} missing or broken.`,
    ...problems.flatMap(({ code, problem, fix }) => [`  ${code}: ${problem}`, `    Fix: ${fix}`]),
    "",
  ];
}

/** @param {import("./doctor.d.mts").DoctorReport} report */
export function renderReport(report) {
  return [
    ...verdict(report),
    ...section("Software", software(report)),
    ...section("Where libtorch was looked for", places(report)),
    ...section("Processor", processor(report)),
    ...section("GPU", gpu(report)),
    ...precisions(report),
  ]
    .join("\n")
    .trimEnd();
}
