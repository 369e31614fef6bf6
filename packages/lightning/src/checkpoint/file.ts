import { packState, unpackState, loadSafetensors, saveSafetensors } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";
import { CHECKPOINT_FORMAT } from "./format.js";
import type { Checkpoint } from "./format.js";
