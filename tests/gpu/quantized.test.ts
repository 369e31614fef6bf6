import { test } from "node:test";
import { learnsNearWide } from "../lightning/quantized-training.js";
import { BODIES } from "../lowbit/quantized-bodies.js";
import { options } from "./support.js";

for (const [name, body] of Object.entries(BODIES)) test(`on the GPU: ${name}`, options, () => body("cuda"));

test(
  "on the GPU: adapters on quantized weights learn in float32, bfloat16 and through the plugin, near those on wide weights",
  options,
  () => learnsNearWide("gpu"),
);
