// Collectives on their way: begun, and waited for by the thread that needs them.
#include "dist/pending.h"

#include "binding/errors.h"
#include "dist/background.h"
#include "dist/translate.h"
#include "entries/distributed.h"

#include <ATen/core/grad_mode.h>

#include <map>
#include <mutex>

namespace nbit::dist {
namespace {
std::mutex& pendingMutex = *new std::mutex;
auto& pendings = *new std::map<int64_t, Pending>;
int64_t nextPending = 1;
}  // namespace

int64_t keepPending(Pending pending) {
  const std::lock_guard<std::mutex> lock(pendingMutex);
  pendings.emplace(nextPending, std::move(pending));
  return nextPending++;
}
Pending takePending(int64_t id) {
  const std::lock_guard<std::mutex> lock(pendingMutex);
  const auto at = pendings.find(id);
  if (at == pendings.end())
    fail("ERR_ARGUMENT", "wait: expected a collective that has not been waited for. Received: number " +
                             std::to_string(id) + ", which is none");
  Pending pending = std::move(at->second);
  pendings.erase(at);
  return pending;
}

void finish(Pending& pending, bool blocks) {
  const Group& group = *pending.group;
  if (pending.onDevice) {
    try {
      pending.work->wait();
    } catch (...) { throwFailure(translate(std::current_exception(), group.monitor->here())); }
  } else {
    waitFor(group, pending.work, pending.operation, blocks);
  }
  const at::NoGradGuard noGrad;
  if (pending.then) pending.then();
}

void forgetPending() {
  std::map<int64_t, Pending> gone;
  const std::lock_guard<std::mutex> lock(pendingMutex);
  gone.swap(pendings);
}

}  // namespace nbit::dist

namespace nbit {
using namespace dist;

void entries::distWait(const Args& a) {
  Pending pending = takePending(a.integer(0));
  finish(pending, true);
}
void entries::distWhenDone(const Args& a) {
  auto pending = std::make_shared<Pending>(takePending(a.integer(0)));
  if (pending->onDevice) finish(*pending, true);  // this thread's stream waits, and nothing else
  runInBackground(a.env, a.at[1], [pending] {
    if (!pending->onDevice) finish(*pending, false);
  });
}
void entries::distForget(const Args& a) {
  const std::lock_guard<std::mutex> lock(pendingMutex);
  pendings.erase(a.integer(0));
}

}  // namespace nbit
