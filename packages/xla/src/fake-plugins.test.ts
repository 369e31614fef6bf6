/** Libraries that are almost plugins: compiled here, since what matters is what a real loader meets. */
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { XlaPlugin } from "./plugin.js";

const compiler = ["g++", "c++", "clang++"].find((name) => spawnSync(name, ["--version"]).status === 0);
const needsCompiler = { skip: compiler === undefined && "needs a C++ compiler" };
const folder = mkdtempSync(join(tmpdir(), "nbit-xla-fake-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A library with this body of GetPjrtApi, after a table of 128 entries whose errors say "refused". */
function build(name: string, body: string, first = ""): string {
  const source = join(folder, `${name}.cc`);
  const library = join(folder, `${name}.so`);
  writeFileSync(
    source,
    `#include <cstddef>
     #include <cstdint>
     ${first}
     struct Table { size_t size; void* extension; size_t version_size; void* version_extension; int major, minor; void* entries[128]; };
     struct Message { size_t size; void* extension; const void* error; const char* text; size_t length; };
     struct Code { size_t size; void* extension; const void* error; int code; };
     static Table table{sizeof(Table), nullptr, 24, nullptr, 0, 90, {}};
     static void destroy(void*) {}
     static void message(Message* m) { m->text = "refused"; m->length = 7; }
     static void* code(Code* c) { c->code = 8; return nullptr; }
     static void* fail(void*) { return &table; }
     static void* succeed(void*) { return nullptr; }
     extern "C" const void* GetPjrtApi() {
       table.entries[0] = (void*)destroy; table.entries[1] = (void*)message; table.entries[2] = (void*)code;
       table.entries[3] = (void*)succeed;
       ${body}
     }`,
  );
  execFileSync(compiler ?? "", ["-shared", "-fPIC", "-w", "-o", library, source]);
  return library;
}

const refused = (name: string, body: string, code: string, words: RegExp): Promise<void> =>
  assert.rejects(XlaPlugin.load(build(name, body)), (error) => {
    assert.equal((error as { code?: string }).code, code, String(error));
    assert.match(String(error), words);
    return true;
  });

test("a table that is none, or of another major version, or cannot report errors", needsCompiler, async () => {
  await refused("nothing", "return nullptr;", "XLA_NOT_A_PLUGIN", /returns no table/);
  await refused("tiny", "table.size = 8; return &table;", "XLA_NOT_A_PLUGIN", /returns no table/);
  await refused(
    "major",
    "table.major = 1; table.minor = 3; return &table;",
    "XLA_PLUGIN_VERSION",
    /speaks version 1\.3.*Expected version 0\.x/,
  );
  await refused(
    "mute",
    "table.entries[1] = nullptr; return &table;",
    "XLA_PLUGIN_VERSION",
    /entries that report errors/,
  );
  await refused("short", "table.size = 48; return &table;", "XLA_PLUGIN_VERSION", /entries that report errors/);
});

test("a plugin whose initialization fails says why, with the code of its status", needsCompiler, async () => {
  await refused(
    "failing",
    "table.entries[3] = (void*)fail; return &table;",
    "XLA_RESOURCE_EXHAUSTED",
    /PJRT_Plugin_Initialize: refused/,
  );
});

test(
  "a table that ends early, and entries that are null, are missing when they are needed",
  needsCompiler,
  async () => {
    // Up to PJRT_Client_Create, number 10; an older plugin has none of what came later.
    const old = await XlaPlugin.load(
      build("old", "table.size = 40 + 11 * 8; table.entries[10] = (void*)fail; return &table;"),
    );
    assert.ok(old.missing.includes("PJRT_Client_Compile") && old.missing.includes("PJRT_Compile"));
    assert.ok(!old.missing.includes("PJRT_Client_Create"));
    await assert.rejects(old.createClient(), (error) => (error as { code?: string }).code === "XLA_RESOURCE_EXHAUSTED");
    await assert.rejects(old.topology("x"), (error) => {
      assert.equal((error as { code?: string }).code, "XLA_UNIMPLEMENTED");
      assert.match(String(error), /PJRT_TopologyDescription_Create is missing in .*old\.so/);
      return true;
    });
    const bare = await XlaPlugin.load(build("bare", "return &table;"));
    assert.ok(bare.missing.includes("PJRT_Client_Create"));
    await assert.rejects(bare.createClient(), (error) => (error as { code?: string }).code === "XLA_UNIMPLEMENTED");
    assert.deepEqual(old.attributes.size, 0);
  },
);

test("a file is loaded once, and two plugins keep to themselves", needsCompiler, async () => {
  const path = build("twice", "table.minor = 7; return &table;");
  const [first, second, other] = await Promise.all([
    XlaPlugin.load(path),
    XlaPlugin.load(path),
    XlaPlugin.load(build("other", "table.minor = 8; return &table;")),
  ]);
  assert.deepEqual([first.apiVersion.minor, second.apiVersion.minor, other.apiVersion.minor], [7, 7, 8]);
});

test("children that begin while a plugin loads are waited for", needsCompiler, async () => {
  // Its initialization takes long enough for Node to begin to listen for ends of children.
  const path = build("slow", "usleep(300000); return &table;", "#include <unistd.h>");
  const loaded = XlaPlugin.load(path);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const ended = new Promise((resolve) => spawn("sleep", ["0.6"]).once("exit", resolve));
  await loaded;
  assert.equal(await ended, 0);
});
