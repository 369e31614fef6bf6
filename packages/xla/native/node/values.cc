#include <cmath>
#include <cstring>

#include "node.h"

namespace nbit::pjrt::js {
namespace {
// Tells this addon's externals from all others; the second half is the kind of handle.
constexpr uint64_t TAG = 0x6e6269742d786c61;
constexpr double EXACT = 9007199254740991;
}  // namespace

void check(napi_env env, napi_status status, const char* expected) {
  if (status == napi_ok) return;
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && pending) throw Pending{};
  throw Failure("XLA_ARGUMENT", std::string("expected ") + expected + ".");
}

void HandleBase::release(napi_env env) {
  int64_t now = 0;
  if (bytes > 0) napi_adjust_external_memory(env, -bytes, &now);
  bytes = 0;
  close();
}

napi_value wrap_handle(napi_env env, Kind kind, std::unique_ptr<HandleBase> handle) {
  napi_value value;
  const auto collect = [](napi_env env, void* data, void*) {
    const std::unique_ptr<HandleBase> collected(static_cast<HandleBase*>(data));
    collected->release(env);
    collected->owner->handles.erase(collected.get());
  };
  handle->owner = instance(env);
  check(env, napi_create_external(env, handle.get(), collect, nullptr, &value), "an external value to be made");
  handle->owner->handles.insert(handle.get());
  int64_t now = 0;
  if (handle->bytes > 0) napi_adjust_external_memory(env, handle->bytes, &now);
  handle.release();
  const napi_type_tag tag{TAG, static_cast<uint64_t>(kind)};
  check(env, napi_type_tag_object(env, value, &tag), "an external value to be tagged");
  return value;
}
HandleBase* unwrap_handle(napi_env env, napi_value value, Kind kind) {
  static constexpr const char* NAMES[] = {"", "a plugin", "a client", "a topology", "a program", "a buffer"};
  napi_valuetype type;
  bool ours = false;
  const napi_type_tag tag{TAG, static_cast<uint64_t>(kind)};
  void* pointer = nullptr;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_external ||
      napi_check_object_type_tag(env, value, &tag, &ours) != napi_ok || !ours ||
      napi_get_value_external(env, value, &pointer) != napi_ok)
    throw Failure("XLA_HANDLE", std::string("expected the handle of ") + NAMES[static_cast<size_t>(kind)] + ".");
  return static_cast<HandleBase*>(pointer);
}

std::string text(napi_env env, napi_value value) {
  size_t size = 0;
  check(env, napi_get_value_string_utf8(env, value, nullptr, 0, &size), "a string");
  std::string read(size, 0);
  check(env, napi_get_value_string_utf8(env, value, read.data(), size + 1, &size), "a string");
  return read;
}
int64_t whole(napi_env env, napi_value value) {
  double number = 0;
  check(env, napi_get_value_double(env, value, &number), "a whole number");
  if (std::trunc(number) != number || std::fabs(number) > EXACT)
    throw Failure("XLA_ARGUMENT", "expected a whole number. Received: " + std::to_string(number) + ".");
  return static_cast<int64_t>(number);
}
std::vector<napi_value> list(napi_env env, napi_value value) {
  uint32_t count = 0;
  check(env, napi_get_array_length(env, value, &count), "an array");
  std::vector<napi_value> read;
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    check(env, napi_get_element(env, value, i, &element), "an array");
    read.push_back(element);
  }
  return read;
}
std::vector<int64_t> wholes(napi_env env, napi_value value) {
  std::vector<int64_t> read;
  for (napi_value each : list(env, value)) read.push_back(whole(env, each));
  return read;
}
std::string bytes(napi_env env, napi_value value) {
  void* data = nullptr;
  size_t size = 0;
  bool is = false;
  if (napi_is_typedarray(env, value, &is) == napi_ok && is) {
    constexpr size_t WIDTHS[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 2};  // napi_int8_array … napi_float16_array
    napi_typedarray_type type;
    check(env, napi_get_typedarray_info(env, value, &type, &size, &data, nullptr, nullptr), "a typed array");
    if (static_cast<size_t>(type) >= std::size(WIDTHS)) throw Failure("XLA_ARGUMENT", "an unknown typed array.");
    size *= WIDTHS[type];
  } else if (napi_is_dataview(env, value, &is) == napi_ok && is) {
    check(env, napi_get_dataview_info(env, value, &size, &data, nullptr, nullptr), "a DataView");
  } else {
    check(env, napi_get_arraybuffer_info(env, value, &data, &size), "an ArrayBuffer or a view of one");
  }
  if (data == nullptr) size = 0;  // detached
  return std::string(static_cast<const char*>(data), size);
}
NamedValues named(napi_env env, napi_value value) {
  NamedValues read;
  for (napi_value each : list(env, value)) {
    const auto pair = list(env, each);
    if (pair.size() != 2) throw Failure("XLA_ARGUMENT", "expected options as [name, value].");
    const std::string name = text(env, pair[0]);
    napi_valuetype type;
    check(env, napi_typeof(env, pair[1], &type), "a value");
    if (type == napi_string) {
      read.emplace_back(name, text(env, pair[1]));
    } else if (type == napi_boolean) {
      bool flag = false;
      check(env, napi_get_value_bool(env, pair[1], &flag), "true or false");
      read.emplace_back(name, flag);
    } else if (type == napi_number) {
      double number = 0;
      check(env, napi_get_value_double(env, pair[1], &number), "a number");
      if (std::trunc(number) == number && std::fabs(number) <= EXACT)
        read.emplace_back(name, static_cast<int64_t>(number));
      else read.emplace_back(name, static_cast<float>(number));
    } else {
      read.emplace_back(name, wholes(env, pair[1]));
    }
  }
  return read;
}

napi_value from(napi_env env, const std::string& text) {
  napi_value value;
  check(env, napi_create_string_utf8(env, text.data(), text.size(), &value), "a string to be made");
  return value;
}
napi_value from(napi_env env, double number) {
  napi_value value;
  check(env, napi_create_double(env, number, &value), "a number to be made");
  return value;
}
napi_value from(napi_env env, const std::vector<int64_t>& values) {
  std::vector<napi_value> made;
  for (const int64_t each : values) made.push_back(from(env, static_cast<double>(each)));
  return array(env, made);
}
napi_value from(napi_env env, const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return from(env, *text);
  if (const auto* number = std::get_if<int64_t>(&value)) return from(env, static_cast<double>(*number));
  if (const auto* values = std::get_if<std::vector<int64_t>>(&value)) return from(env, *values);
  if (const auto* number = std::get_if<float>(&value)) return from(env, static_cast<double>(*number));
  napi_value made;
  check(env, napi_get_boolean(env, std::get<bool>(value), &made), "a flag to be made");
  return made;
}
napi_value array(napi_env env, const std::vector<napi_value>& values) {
  napi_value made;
  check(env, napi_create_array_with_length(env, values.size(), &made), "an array to be made");
  for (size_t i = 0; i < values.size(); i++)
    check(env, napi_set_element(env, made, static_cast<uint32_t>(i), values[i]), "an array to be filled");
  return made;
}
/** As pairs: a name such as `__proto__` is one like any other. */
napi_value object(napi_env env, const NamedValues& values) {
  std::vector<napi_value> pairs;
  for (const auto& [name, value] : values) pairs.push_back(array(env, {from(env, name), from(env, value)}));
  return array(env, pairs);
}
napi_value record(napi_env env, const std::vector<std::pair<const char*, napi_value>>& fields) {
  napi_value made;
  check(env, napi_create_object(env, &made), "an object to be made");
  for (const auto& [name, value] : fields)
    check(env, napi_set_named_property(env, made, name, value), "an object to be filled");
  return made;
}
napi_value undefined(napi_env env) {
  napi_value value;
  check(env, napi_get_undefined(env, &value), "undefined");
  return value;
}
napi_value owned_bytes(napi_env env, std::unique_ptr<std::vector<char>> bytes) {
  napi_value value;
  if (bytes->empty()) {
    check(env, napi_create_arraybuffer(env, 0, nullptr, &value), "an ArrayBuffer to be made");
    return value;
  }
  std::vector<char>* owned = bytes.get();
  check(env,
        napi_create_external_arraybuffer(
            env, owned->data(), owned->size(),
            [](napi_env, void*, void* hint) { delete static_cast<std::vector<char>*>(hint); }, owned, &value),
        "an ArrayBuffer to be made");
  bytes.release();
  return value;
}
}  // namespace nbit::pjrt::js
