// The guards of each operator: the rows of manifest/guards.json, and those that hold for every operator with a certain
// signature.
#include "binding/guards.h"

#include "binding/checks.h"
#include "binding/guard_words.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <string>
#include <unordered_map>

namespace nbit {

const c10::IValue* Arguments::find(const char* name) const {
  for (size_t i = 0; i < schema.arguments().size(); i++)
    if (schema.arguments()[i].name() == name) return at(i).isNone() ? nullptr : &at(i);
  return nullptr;
}
at::Tensor Arguments::tensor(const char* name) const {
  const c10::IValue* v = find(name);
  return v != nullptr && v->isTensor() ? v->toTensor() : at::Tensor();
}

namespace guards {
namespace {

struct Row {
  const char* operators;
  Guard guard;
};
const std::vector<Row>& rows() {
  static const std::vector<Row>& all = *new std::vector<Row>{
#include "guards.inc"
  };
  return all;
}

/** libtorch makes a written view that is conjugated or negated plain before the call, and afterwards writes what the
 * operator returns. It must return it. */
void writtenViews(const Arguments& call) {
  call.eachTensor([](const at::Tensor& t, const c10::Argument& a) {
    if (a.alias_info() != nullptr && a.alias_info()->isWrite())
      NBIT_EXPECT(!t.is_conj() && !t.is_neg(), t, a.name(),
                  " to be written as it lies in memory, not a conjugated or negated view (resolve it first)");
  });
}
bool ofRows(c10::Layout layout) {
  return layout == c10::kSparseCsr || layout == c10::kSparseCsc || layout == c10::kSparseBsr ||
         layout == c10::kSparseBsc;
}
/** Most results given as `out` are resized and copied to by code that was written for memory in strides; where an
 * operator has a kernel of another layout, that kernel knows what it writes. */
Guard writableLayout(const c10::FunctionSchema& schema) {
  const auto op = c10::Dispatcher::singleton().findSchema(schema.operator_name());
  const auto has = [&](c10::DispatchKey key) { return op.has_value() && op->hasKernelForDispatchKey(key); };
  const bool rows = has(c10::DispatchKey::SparseCsrCPU) || has(c10::DispatchKey::SparseCsrCUDA),
             mkldnn = has(c10::DispatchKey::MkldnnCPU);
  return [=](const Arguments& call) {
    call.eachTensor([=](const at::Tensor& t, const c10::Argument& a) {
      if (a.alias_info() == nullptr || !a.alias_info()->isWrite() || !a.kwarg_only()) return;
      NBIT_EXPECT(rows || !ofRows(t.layout()), t, a.name(), " to be strided: this operator writes no other layout");
      NBIT_EXPECT(mkldnn || t.layout() != c10::kMkldnn, t, a.name(),
                  " to be strided: this operator writes no other layout");
    });
  };
}
bool hasOut(const c10::FunctionSchema& schema) {
  return std::any_of(schema.arguments().begin(), schema.arguments().end(), [](const c10::Argument& a) {
    return a.kwarg_only() && a.alias_info() != nullptr && a.alias_info()->isWrite();
  });
}
bool writesUnreturned(const c10::FunctionSchema& schema) {
  size_t written = 0;
  for (const auto& a : schema.arguments())
    written += a.alias_info() != nullptr && a.alias_info()->isWrite() && a.type()->kind() != c10::TypeKind::ListType;
  return written > schema.returns().size() || (schema.is_mutable() && schema.operator_name().getNamespace() == "nbit");
}

}  // namespace
}  // namespace guards

std::vector<Guard> guardsOf(const c10::FunctionSchema& schema) {
  static const auto& table = *[] {
    auto* made = new std::unordered_multimap<std::string, const Guard*>();
    for (const guards::Row& row : guards::rows()) {
      const std::string names = row.operators;
      for (size_t from = 0; from < names.size();) {
        const size_t to = std::min(names.find(' ', from), names.size());
        made->emplace("aten::" + names.substr(from, to - from), &row.guard);
        from = to + 1;
      }
    }
    return made;
  }();
  std::vector<Guard> found;
  const auto add = [&](const std::string& key) {
    const auto [from, to] = table.equal_range(key);
    for (auto row = from; row != to; ++row) found.push_back(*row->second);
  };
  add(schema.name());
  if (!schema.overload_name().empty()) add(schema.name() + "." + schema.overload_name());
  if (guards::writesUnreturned(schema)) found.emplace_back(guards::writtenViews);
  if (guards::hasOut(schema)) found.push_back(guards::writableLayout(schema));
  return found;
}

}  // namespace nbit
