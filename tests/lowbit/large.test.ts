import { freemem } from "node:os";
import { test } from "node:test";
import { beyond32Bits } from "./large.js";

// Half a minute and 13 GiB: not in every run.
const skip =
  process.env["NBIT_LARGE_TESTS"] !== "1"
    ? "set NBIT_LARGE_TESTS=1 to run it: it takes 13 GiB of memory"
    : freemem() < 14 * 2 ** 30 && "needs 14 GiB of free memory";

test("steps, codes and values of more than 2³¹ elements", { skip }, () => beyond32Bits("cpu"));
