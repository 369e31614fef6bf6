// Clients, topologies, programs and buffers of a plugin. Whoever holds one keeps alive what it came from: a client is
// destroyed after the last of its buffers and programs. Nothing here knows JavaScript; failures are thrown.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "plugin.h"

namespace nbit::pjrt {
struct DeviceFacts {
  int id, process, local;  // local: -1 where nothing is attached
  std::string kind, text;
  NamedValues attributes;
};

struct Traffic {
  std::atomic<uint64_t> bytes_to_device{0}, bytes_to_host{0}, transfers_to_device{0}, transfers_to_host{0},
      executions{0}, live_bytes{0};
  std::atomic<int64_t> live_buffers{0}, live_programs{0};
};

/**
 * Held by whatever lives in a plugin: a JavaScript thread that ends waits until nobody but itself holds its token,
 * since the libraries' own objects go after that.
 */
using Token = std::shared_ptr<const char>;

struct ClientCore {
  const Token token;  // first, and so the last to go
  const std::shared_ptr<Plugin> plugin;
  Client* client = nullptr;
  std::vector<Device*> devices;
  std::vector<DeviceFacts> facts;
  std::string platform, version;
  std::atomic<bool> closed{false};
  Traffic traffic;
  /** Transfers and executions, in the order in which they were asked for. */
  Lane lane;

  /** What it returns is destroyed on a thread of its own: a plugin may not destroy a client in a callback of its. */
  static std::shared_ptr<ClientCore> create(Token token, std::shared_ptr<Plugin> plugin, const NamedValues& options);
  ~ClientCore();

 private:
  ClientCore(Token token, std::shared_ptr<Plugin> plugin, const NamedValues& options);
};

struct TopologyCore {
  const Token token;
  const std::shared_ptr<Plugin> plugin;
  TopologyDescription* topology = nullptr;
  std::vector<DeviceFacts> facts;
  std::string platform, version;

  TopologyCore(Token token, std::shared_ptr<Plugin> plugin, const std::string& name, const NamedValues& options);
  ~TopologyCore();
};

struct ProgramMemory {
  int64_t peak, arguments, outputs, aliased, temporaries, code, host_temporaries;
};
struct ProgramFacts {
  std::string name, fingerprint;
  size_t replicas, partitions, outputs;
  std::optional<int64_t> code_bytes;
  std::optional<ProgramMemory> memory;
  std::optional<NamedValues> costs;
};

/** A compiled program; one that was compiled for a topology has no client and cannot run. */
struct ProgramCore {
  const Token token;
  const std::shared_ptr<Plugin> plugin;
  const std::shared_ptr<ClientCore> client;
  Executable* executable = nullptr;
  LoadedExecutable* loaded = nullptr;
  size_t outputs = 0;
  /** Indices into the client's devices, by the program's own order. */
  std::vector<size_t> devices;

  static std::shared_ptr<ProgramCore> compile(std::shared_ptr<ClientCore> client, std::string& text,
                                              const std::string& options);
  static std::shared_ptr<ProgramCore> compile(const std::shared_ptr<TopologyCore>& topology, std::string& text,
                                              const std::string& options);
  static std::shared_ptr<ProgramCore> load(std::shared_ptr<ClientCore> client, const std::string& serialized);
  ~ProgramCore();

  ProgramFacts facts() const;
  /** Format and bytes; XLA's is `hlo_with_config`. */
  std::pair<std::string, std::string> optimized() const;
  std::string serialize() const;

 private:
  ProgramCore(Token token, std::shared_ptr<Plugin> plugin, std::shared_ptr<ClientCore> client);
  void adopt(LoadedExecutable* made);
  size_t count_outputs() const;
};

struct BufferCore {
  const std::shared_ptr<ClientCore> client;
  Buffer* buffer;
  int type = 0;
  std::vector<int64_t> dims;
  size_t bytes = 0;
  size_t device = 0;
  std::atomic<bool> donated{false};

  /** Takes what a plugin made. */
  BufferCore(std::shared_ptr<ClientCore> client, Buffer* buffer);
  ~BufferCore();
  bool deleted() const;
  Event* ready() const;

 private:
  void destroy() const noexcept;
};

/** Bytes of one element of a PJRT type; 0 for what has no whole bytes or is unknown. */
size_t item_size(int type);
/** Elements × bytes. @throws Failure XLA_SHAPE for what is negative or too large. */
size_t byte_size(int type, const std::vector<int64_t>& dims);

/**
 * Begins a transfer. `data` stays as it is until `*done` has come; with `done` null, the plugin has read it when this
 * returns.
 */
std::shared_ptr<BufferCore> to_device(const std::shared_ptr<ClientCore>& client, size_t device, int type,
                                      const std::vector<int64_t>& dims, const void* data, Event** done);
/** Begins a transfer of a buffer's bytes, dense, last dimension fastest, into its `bytes` bytes at `target`. */
Event* to_host(const BufferCore& buffer, void* target);

using Lists = std::vector<std::vector<std::shared_ptr<BufferCore>>>;
/** Runs a program on its devices, a list of arguments each; returns when that has begun. Marks what was donated. */
Lists execute(const ProgramCore& program, const Lists& arguments, const std::vector<int64_t>& kept);
}  // namespace nbit::pjrt
