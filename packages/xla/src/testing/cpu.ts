/** For tests: the CPU plugin, where set-up has built it, and programs for it. */
import { pluginPlaces } from "../../lib/places.mjs";
import { XlaPlugin } from "../plugin.js";
import type { XlaClient } from "../client.js";

export const cpuPath = pluginPlaces().find(({ platform }) => platform === "cpu")?.path ?? null;
export const tpuPath = pluginPlaces().find(({ platform, path }) => platform === "tpu" && path !== null)?.path ?? null;
export const needsCpu = { skip: cpuPath === null && "needs the CPU plugin: nbit setup --xla" };
export const needsTpu = { skip: tpuPath === null && "needs libtpu: nbit setup --tpu" };

/** A client of the CPU plugin. */
export async function openCpu(devices = 1): Promise<XlaClient> {
  if (cpuPath === null) throw new Error("the CPU plugin is not set up");
  const plugin = await XlaPlugin.load(cpuPath);
  return plugin.createClient({ cpu_device_count: devices });
}

/** A module whose `main` has these arguments and this body. */
export const program = (args: string, results: string, body: string, attributes = ""): string =>
  `module @test${attributes} { func.func public @main(${args}) -> (${results}) { ${body} } }`;

/** a + b, in a's memory; and their sum. */
export const ADD = program(
  "%a: tensor<4xf32> {tf.aliasing_output = 0 : i32}, %b: tensor<4xf32>",
  "tensor<4xf32>, tensor<f32>",
  `%c = stablehlo.add %a, %b : tensor<4xf32>
   %zero = stablehlo.constant dense<0.0> : tensor<f32>
   %sum = stablehlo.reduce(%c init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
   return %c, %sum : tensor<4xf32>, tensor<f32>`,
);
/** The same, and nothing is donated. */
export const PLAIN_ADD = ADD.replace(" {tf.aliasing_output = 0 : i32}", "");

/** The sum of a vector whose halves are on two devices. */
export const SHARDED = program(
  '%a: tensor<4xf32> {mhlo.sharding = "{devices=[2]<=[2]}"}',
  'tensor<f32> {mhlo.sharding = "{replicated}"}',
  `%zero = stablehlo.constant dense<0.0> : tensor<f32>
   %sum = stablehlo.reduce(%a init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
   return %sum : tensor<f32>`,
  " attributes {mhlo.num_partitions = 2 : i32, mhlo.num_replicas = 1 : i32}",
);
