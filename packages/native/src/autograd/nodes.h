// Making nodes of the autograd graph, whichever pointer this libtorch keeps them in.
#pragma once
#include <torch/csrc/autograd/function.h>

#include <memory>

namespace torch::autograd {
void deleteNode(Node* function);  // exists only where nodes are shared_ptrs, and is named only there
}

namespace nbit {

using NodePtr =
    decltype(torch::autograd::Edge::function);  // a shared_ptr in older libtorches, an intrusive_ptr in newer

template <class T, class... A>
auto makeNode(A&&... args) {
  if constexpr (std::is_same_v<NodePtr, std::shared_ptr<torch::autograd::Node>>)
    return std::shared_ptr<T>(new T(std::forward<A>(args)...), torch::autograd::deleteNode);
  else return c10::make_intrusive<T>(std::forward<A>(args)...);
}

}  // namespace nbit
