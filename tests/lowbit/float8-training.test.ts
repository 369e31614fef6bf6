import { test } from "node:test";
import { setNumThreads } from "@nbit/torch";
import { MODELS, reachesFloat32 } from "./float8-training.js";

setNumThreads(1);

// The ResNet in one recipe: its convolutions take most of the time where the processor has no bfloat16.
for (const model of MODELS)
  test(`${model.name} trains in float8 to the loss of float32, and every layer is listed as converted or left`, () =>
    reachesFloat32(model, "cpu", 20, model.name === "ResNet" ? ["tensorwise"] : undefined));
