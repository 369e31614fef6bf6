/**
 * A rank for the tests of launchers: prints where its launcher has put it, as one line of JSON. With the argument
 * `group` it meets the others first, and adds its rank to theirs.
 */
import { tensor } from "@nbit/torch";
import { allReduce, clusterEnvironment, destroyProcessGroup, initProcessGroup } from "@nbit/torch/distributed";

const environment = clusterEnvironment();
let sum = null;
if (process.argv[2] === "group") {
  await initProcessGroup("gloo");
  const total = tensor([environment.rank + 1]);
  allReduce(total);
  sum = total.item();
  await destroyProcessGroup();
}
console.log(JSON.stringify({ place: environment, sum }));
