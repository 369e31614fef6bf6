import { family } from "../family.js";

export const xla = family(
  "xla",
  {
    title: "XLA and TPUs",
    brief: "PJRT plugins, lowering and compiled steps. Codes such as `XLA_UNAVAILABLE` are the runtime's own status.",
    by: "XlaError",
    in: ["xla"],
  },
  {
    XLA_ABORTED: {
      means: "The runtime ended a program before its end.",
      cause: "A failure on another device.",
      fix: "Look at the cause in the message, and start anew.",
    },
    XLA_ALREADY_EXISTS: {
      means: "The runtime has such a thing already.",
      cause: "Two clients on one device.",
      fix: "Close the first.",
    },
    XLA_ARGUMENT: {
      means: "A function of the PJRT host got a value that it does not take.",
      cause: "A misspelt option.",
      fix: "The message says which.",
    },
    XLA_BUFFER_DISPOSED: {
      means: "A buffer was used after it was given back.",
      cause: "A buffer that is kept after `dispose()`.",
      fix: "Read it before.",
    },
    XLA_BUFFER_DONATED: {
      means: "A buffer was used after a program took its memory.",
      cause: "A donated input that is read later.",
      fix: "Use the program's output instead.",
    },
    XLA_CACHE: {
      means: "A warning: compiled programs cannot be kept in their folder.",
      cause: "A folder that cannot be written to.",
      fix: "Set `NBIT_XLA_CACHE` or mend its permissions; programs are compiled anew meanwhile.",
      by: "NbitWarning",
    },
    XLA_CANCELLED: {
      means: "A program was cancelled.",
      cause: "The client was closed while it ran.",
      fix: "Wait for it before closing.",
    },
    XLA_CLOSED: {
      means: "A client or plugin was used after it was closed.",
      cause: "Use after `close()`.",
      fix: "Make a new one.",
    },
    XLA_DATA_LOSS: {
      means: "The runtime lost data that cannot be had again.",
      cause: "A fault of the device.",
      fix: "Resume from a checkpoint.",
    },
    XLA_DEADLINE_EXCEEDED: {
      means: "The runtime waited too long.",
      cause: "Another host of a TPU slice does not answer.",
      fix: "Look whether all hosts run the same program.",
    },
    XLA_DEVICE: {
      means: "There is no such device, or buffers are on different ones.",
      cause: "An index beyond the devices; inputs of two clients.",
      fix: "`client.devices` lists them.",
    },
    XLA_DTYPE: {
      means: "PJRT and libtorch do not share this dtype.",
      cause: "A quantized or 4-bit dtype.",
      fix: "Convert it first.",
    },
    XLA_FAILED_PRECONDITION: {
      means: "The runtime is not in the state that the call needs.",
      cause: "A device that another process holds.",
      fix: "End that process.",
    },
    XLA_HANDLE: {
      means: "Something else than a client, buffer or program was given.",
      cause: "An object of another plugin.",
      fix: "Use what the functions of this one return.",
    },
    XLA_INPUT: {
      means: "A compiled step lacks an input.",
      cause: "A batch without a field that the first one had.",
      fix: "Give the same fields in every batch.",
    },
    XLA_INTERNAL: {
      means: "The runtime, or the host of it, failed.",
      cause: "A mistake in the plugin.",
      fix: "Update the plugin; report it with the program.",
    },
    XLA_INVALID_ARGUMENT: {
      means: "The runtime refused a value or a program.",
      cause: "A program of another version of StableHLO.",
      fix: "The message has the runtime's own words.",
    },
    XLA_LOWERING: {
      means: "An operator's lowering does not cover these arguments.",
      cause: "An option or a dtype that it does not have.",
      fix: "Rewrite that line, or add a lowering with `registerLowering`.",
    },
    XLA_NOT_A_PLUGIN: {
      means: "The library is no PJRT plugin.",
      cause: "`PJRT_PLUGIN_LIBRARY_PATH` leads to another library.",
      fix: "Correct it.",
    },
    XLA_NOT_FOUND: {
      means: "The runtime does not find what was asked for.",
      cause: "A device or a program that is not there.",
      fix: "The message has the runtime's own words.",
    },
    XLA_NOT_LOADED: {
      means: "A program that was compiled for another topology cannot be run here.",
      cause: "Compilation ahead of time.",
      fix: "Compile it for this client.",
    },
    XLA_NO_DEVICE: {
      means: "The plugin has no device.",
      cause: "No TPU on this machine, or another process holds it.",
      fix: "`npx nbit doctor` shows what there is.",
    },
    XLA_NO_LOWERING: {
      means: "Operators of the step have no lowering to StableHLO.",
      cause: "An operator that is rare on TPUs.",
      fix: "Rewrite it, or add one with `registerLowering`; the message lists them with their lines.",
    },
    XLA_NO_PLUGIN: {
      means: "No PJRT plugin was found.",
      cause: '`accelerator: "tpu"` without set-up.',
      fix: "Run `npx nbit setup --tpu` or `--xla`.",
    },
    XLA_OTHER_CLIENT: {
      means: "A buffer belongs to another client.",
      cause: "Two clients in one program.",
      fix: "Copy it through the host.",
    },
    XLA_OUT_OF_RANGE: {
      means: "The runtime refused an index or a size.",
      cause: "A transfer beyond the end of a buffer.",
      fix: "The message has the runtime's own words.",
    },
    XLA_PERMISSION_DENIED: {
      means: "The runtime was refused something by the system.",
      cause: "A device file that this user cannot open.",
      fix: "Mend its permissions.",
    },
    XLA_PLUGIN_BROKEN: {
      means: "The plugin's library does not load.",
      cause: "A library that it needs is missing.",
      fix: "The message has the loader's own words.",
    },
    XLA_PLUGIN_VERSION: {
      means: "The plugin speaks a version of PJRT that nbit does not.",
      cause: "A plugin that is much older or newer.",
      fix: "Install one of the versions in [tpu.md](../tpu.md).",
    },
    XLA_PROGRAM_FORMAT: {
      means: "A program is in a format that is not read.",
      cause: "Instructions of a program that is no HLO.",
      fix: 'Ask for "hlo" or "hlo_with_config".',
    },
    XLA_RESOURCE_EXHAUSTED: {
      means: "Memory of the device, or of the host, did not suffice.",
      cause: "A batch that is too large.",
      fix: 'Lower the batch size, or use "bf16".',
    },
    XLA_SHAPE: {
      means: "A buffer's or tensor's shape is not what the call needs.",
      cause: "Another number of bytes than the shape says.",
      fix: "The message has both.",
    },
    XLA_SHARDING: {
      means: "The first dimension cannot be divided among the devices.",
      cause: "A last batch that is smaller.",
      fix: "Choose another batch size, or `dropLast: true`.",
    },
    XLA_SIGNATURE: {
      means: "A program was called with other inputs than it was compiled for.",
      cause: "Another number, shape or dtype.",
      fix: "Compile it for these.",
    },
    XLA_STATE: {
      means: "A step writes tensors that are not the module's or its optimizers'.",
      cause: "A tensor in a plain field.",
      fix: "Register it: `this.registerBuffer(name, tensor)`.",
    },
    XLA_UNAUTHENTICATED: {
      means: "The runtime does not know who asks.",
      cause: "Missing credentials of the cloud.",
      fix: "Give the machine a service account.",
    },
    XLA_UNAVAILABLE: {
      means: "The runtime, or its device, does not answer.",
      cause: "Another process holds the TPU.",
      fix: "End it, and try again.",
    },
    XLA_UNIMPLEMENTED: { means: "The plugin lacks this function.", cause: "An older plugin.", fix: "Update it." },
    XLA_UNKNOWN: {
      means: "The runtime failed without saying why.",
      cause: "None is known.",
      fix: "Update the plugin; report it with the program.",
    },
  },
);
