#include "binding/boxed_values.h"

#include "binding/dispatch.h"
#include "binding/random.h"

#include <ATen/core/List.h>
#include <ATen/core/ivalue.h>

namespace nbit {
namespace {

using c10::IValue;

IValue readOne(Reader& in, char kind) {
  switch (kind) {
    case 'i': return in.integer();
    case 'd': return static_cast<int64_t>(in.dtype());
    case 'l':
      return static_cast<int64_t>(
          codeBelow(in.number(), static_cast<int>(c10::Layout::NumOptions), "the code of a layout"));
    case 'm':
      return static_cast<int64_t>(
          codeBelow(in.number(), static_cast<int>(c10::MemoryFormat::NumOptions), "the code of a memory format"));
    case 'f': return in.number();
    case 's': return in.scalar();
    case 'b': return in.flag();
    case 'S': return internedAt(in.number());
    case 'D': return decodeDevice(in.number());
    case 'g': return generatorAt(in.number());
    default: fail("NBIT_UNSUPPORTED", "an argument of this operator has a type that cannot come from JavaScript");
  }
}

template <class T, class Read>
IValue readList(Reader& in, size_t n, Read read) {
  c10::List<T> list;
  list.reserve(n);
  for (size_t i = 0; i < n; i++) list.push_back(read(in));
  return list;
}

void writeOne(Writer& out, IValue v) {
  if (v.isTensor()) out.tensor(std::move(v).toTensor());
  else if (v.isNone()) out.number(std::nan(""));
  else if (v.isInt() || v.isSymInt()) out.integer(v.isInt() ? v.toInt() : v.toSymInt().guard_int(__FILE__, __LINE__));
  else if (v.isDouble()) out.number(v.toDouble());
  else if (v.isBool()) out.number(v.toBool());
  else if (v.isDevice()) out.number(encodeDevice(v.toDevice()));
  else if (v.isComplexDouble()) out.scalar(v.toScalar());
  else fail("NBIT_UNSUPPORTED", "this operator returns a value that JavaScript cannot hold: " + v.tagKind());
}

}  // namespace

void readArgument(Reader& in, const Kind& k, torch::jit::Stack& stack) {
  if (!k.list) {
    if (k.kind == 't') {
      if (k.optional && in.peek() == 0) {
        in.number();
        stack.emplace_back();
      } else {
        stack.emplace_back(in.tensor());
      }
      return;
    }
    if (k.optional && !in.flag()) {
      stack.emplace_back();
      return;
    }
    stack.push_back(readOne(in, k.kind));
    return;
  }
  if (in.peek() < 0) {
    in.number();
    stack.emplace_back();
    return;
  }
  const size_t n = in.count();
  switch (k.kind) {
    case 't':
      if (k.elementOptional) {
        stack.push_back(readList<std::optional<at::Tensor>>(in, n, [](Reader& r) { return r.maybeTensor(); }));
      } else {
        stack.push_back(readList<at::Tensor>(in, n, [](Reader& r) -> const at::Tensor& { return r.tensor(); }));
      }
      return;
    case 'i':
    case 'd':
    case 'l':
    case 'm': stack.push_back(readList<int64_t>(in, n, [&](Reader& r) { return readOne(r, k.kind).toInt(); })); return;
    case 'f': stack.push_back(readList<double>(in, n, [](Reader& r) { return r.number(); })); return;
    case 'b': stack.push_back(readList<bool>(in, n, [](Reader& r) { return r.flag(); })); return;
    case 's': {
      c10::impl::GenericList list(c10::NumberType::get());
      for (size_t i = 0; i < n; i++) list.push_back(IValue(in.scalar()));
      stack.emplace_back(std::move(list));
      return;
    }
    case 'S': stack.push_back(readList<std::string>(in, n, [](Reader& r) { return internedAt(r.number()); })); return;
    default: fail("NBIT_UNSUPPORTED", "an argument of this operator has a type that cannot come from JavaScript");
  }
}

void writeReturns(const std::vector<Return>& returns, torch::jit::Stack& stack) {
  size_t most = 0, tensors = 0;
  for (size_t i = 0; i < returns.size(); i++) {
    const Return& r = returns[i];
    if (r.alias >= 0) continue;
    const size_t n = !r.kind.list              ? 1
                     : stack[i].isTensorList() ? stack[i].toTensorList().size()
                                               : stack[i].toList().size();
    most += 1 + 3 * n;
    if (r.kind.kind != 't') continue;
    tensors += n;
    if (stack[i].isTensor() && isOdd(stack[i].toTensor())) [[unlikely]]
      stack[i] = plain(std::move(stack[i]).toTensor());
    if (!stack[i].isTensorList()) continue;
    auto list = stack[i].toTensorList();
    for (size_t j = 0; j < n; j++)
      if (isOdd(list.get(j))) [[unlikely]]
        list.set(j, plain(list.extract(j)));
  }
  Writer out(most, tensors);
  for (size_t i = 0; i < returns.size(); i++) {
    const Return& r = returns[i];
    if (r.alias >= 0) continue;
    IValue& v = stack[i];
    if (r.kind.list) {
      if (v.isTensorList()) {
        auto list = v.toTensorList();
        out.number(static_cast<double>(list.size()));
        for (size_t j = 0; j < list.size(); j++) out.tensor(list.extract(j));
      } else {
        auto list = v.toList();
        out.number(static_cast<double>(list.size()));
        for (size_t j = 0; j < list.size(); j++) writeOne(out, IValue(list.get(j)));
      }
    } else if (r.kind.kind == 's') {
      out.scalar(v.toScalar());
    } else {
      writeOne(out, std::move(v));
    }
  }
}

}  // namespace nbit
