// What is quantized and stepped block by block: parameters and gradients in three dtypes, and states in float32, in
// codes of 8 or 4 bits, or in float8.
#pragma once
#include "binding/checks.h"
#include "lowbit/cpu/codebook.h"

#include <algorithm>
#include <optional>

namespace nbit::lowbit {

inline int64_t blocksOf(int64_t n, int64_t block) { return (n + block - 1) / block; }
/** Memory on the CPU, element after element. */
inline void checkMemory(const at::Tensor& t, const char* what) {
  TORCH_CHECK_VALUE(t.defined(), "expected ", what, " to be a tensor. Received: none");
  NBIT_EXPECT(t.device().is_cpu(), t, what, " on the CPU");
  checks::contiguous(t, what, t);
}
inline void checkMap(const at::Tensor& map) {
  checkMemory(map, "map");
  NBIT_EXPECT(map.scalar_type() == at::kFloat && map.dim() == 1 && map.numel() >= 2 && map.numel() <= 256, map,
              "map to be 2 to 256 ascending float32 values");
}
inline void checkBlock(int64_t block) {
  TORCH_CHECK_VALUE(block >= 1 && block <= kBlockMax, "expected a block size from 1 to ", kBlockMax,
                    ". Received: ", block);
}
inline void checkElements(const at::Tensor& t, const char* what) {
  checkMemory(t, what);
  checks::floating(t, what, false);
}
inline void checkAbsmax(const at::Tensor& absmax, int64_t n, int64_t block) {
  checkMemory(absmax, "absmax");
  NBIT_EXPECT(absmax.scalar_type() == at::kFloat && absmax.numel() == blocksOf(n, block), absmax,
              "one float32 absmax for each of ", blocksOf(n, block), " blocks");
}
inline const Codebook& bookOf(const at::Tensor& map) {
  checkMap(map);
  return codebookOf(map.const_data_ptr<float>(), static_cast<int>(map.numel()));
}

// Elements of any of three dtypes as float32: where they are, when that is what they are; else in a local array, and
// back.
class Elements {
 public:
  explicit Elements(const at::Tensor& t, bool write)
      : dtype_(t.scalar_type()), data_(write ? t.mutable_data_ptr() : const_cast<void*>(t.const_data_ptr())) {}
  bool inPlace() const { return dtype_ == at::kFloat; }
  float* read(const Kernels& k, int64_t from, int64_t n, float* local) const {
    if (dtype_ == at::kFloat) return static_cast<float*>(data_) + from;
    (dtype_ == at::kHalf ? k.fromHalf : k.fromBfloat)(static_cast<const uint16_t*>(data_) + from, local, n);
    return local;
  }
  void write(const Kernels& k, int64_t from, int64_t n, const float* local) const {
    if (dtype_ == at::kFloat) return;
    (dtype_ == at::kHalf ? k.toHalf : k.toBfloat)(local, static_cast<uint16_t*>(data_) + from, n);
  }

 private:
  at::ScalarType dtype_;
  void* data_;
};

class BlockState {
 public:
  BlockState(const at::Tensor& t, const at::Tensor* absmax, const at::Tensor* map, int64_t n, int64_t block,
             bool positive)
      : block_(block), positive_(positive) {
    checkMemory(t, "states");
    if (t.scalar_type() == at::kFloat) {
      codec_ = kFloat32;
      NBIT_EXPECT(t.numel() == n, t, "one state for each of ", n, " elements");
      data_ = t.mutable_data_ptr();
      return;
    }
    TORCH_CHECK_VALUE(absmax != nullptr && absmax->defined(),
                      "expected an absmax for each quantized state. Received: none");
    checkAbsmax(*absmax, n, block);
    data_ = t.mutable_data_ptr();
    absmax_ = absmax->mutable_data_ptr<float>();
    if (t.scalar_type() == at::kFloat8_e4m3fn) {
      codec_ = kFloat8;
      codebook_ = &float8Book();
      NBIT_EXPECT(t.numel() == n, t, "one float8 for each of ", n, " elements");
      return;
    }
    NBIT_EXPECT_TYPE(t.scalar_type() == at::kByte, t, "states in float32, uint8 or float8_e4m3fn");
    TORCH_CHECK_VALUE(map != nullptr && map->defined(), "expected a map for each state of codes. Received: none");
    codebook_ = &bookOf(*map);
    codec_ = codebook_->size <= 16 ? kUint4 : kUint8;
    positive_ = positive && codebook_->values[0] == 0.f;
    if (codec_ == kUint8) {
      NBIT_EXPECT(t.numel() == n && codebook_->size == 256, t, "one uint8 code for each of ", n,
                  " elements and a map of 256 values, not of ", codebook_->size);
    } else {
      NBIT_EXPECT(t.numel() == (n + 1) / 2 && (block % 2 == 0 || n <= block), t, "two codes per byte for ", n,
                  " elements and an even block size, not ", block);
    }
  }
  // What a step reads: codes of 256 values as they are, all else in float32 at `at`, where the new state goes in any
  // case.
  Source open(const Kernels& k, int64_t b, int64_t n, float* local, float*& at) const {
    const int64_t from = b * block_;
    auto* bytes = static_cast<uint8_t*>(data_);
    at = local;
    switch (codec_) {
      case kFloat32: at = static_cast<float*>(data_) + from; break;
      case kUint8: return {bytes + from, codebook_, absmax_[b]};
      case kFloat8: return {bytes + from, codebook_, absmax_[b] / 448.f};
      case kUint4: {
        alignas(64) uint8_t codes[kBlockMax];
        k.unpack(bytes + from / 2, codes, n);
        k.decode(codes, *codebook_, absmax_[b], local, n);
      }
    }
    return {};
  }
  // From block b on, where one code is one byte.
  std::optional<CodedState> coded(int64_t b) const {
    if (codec_ != kUint8) return {};
    return CodedState{static_cast<uint8_t*>(data_) + b * block_, absmax_ + b, codebook_, positive_};
  }
  float* read(const Kernels& k, int64_t b, int64_t n, float* local) const {
    float* at;
    const Source source = open(k, b, n, local, at);
    if (source.codes != nullptr) k.decode(source.codes, *source.codebook, source.scale, at, n);
    return at;
  }
  void write(const Kernels& k, int64_t b, int64_t n, const float* local, float absmax) const {
    if (codec_ == kFloat32) return;
    const int64_t from = b * block_;
    auto* bytes = static_cast<uint8_t*>(data_);
    absmax_[b] = absmax;
    if (codec_ == kUint8) return k.encode(local, *codebook_, absmax, bytes + from, n, positive_);
    if (codec_ == kFloat8) return k.encodeFloat8(local, absmax, bytes + from, n, positive_);
    alignas(64) uint8_t codes[kBlockMax];
    k.encode(local, *codebook_, absmax, codes, n, positive_);
    k.pack(codes, bytes + from / 2, n);
  }

 private:
  Codec codec_;
  void* data_;
  float* absmax_ = nullptr;
  const Codebook* codebook_ = nullptr;
  int64_t block_;
  bool positive_;
};

/** Blocks that one thread takes at least. */
inline int64_t grain(int64_t block) { return std::max<int64_t>(1, 16384 / block); }

}  // namespace nbit::lowbit
