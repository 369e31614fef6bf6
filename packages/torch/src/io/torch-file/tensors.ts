/** PyTorch's functions that make tensors again: of storages, of indices, of arrays. Each gives what is made later. */
import { NbitError } from "../../errors.js";
import { aten, emptyStrided, sparseCooTensor, sparseCompressedTensor } from "../../ops/index.js";
import { isDType, isTensor, type DType, type Tensor } from "../../tensor/index.js";
import { Parameter } from "../../nn/parameter.js";
import { PyDict, PyMade, type Expect, type PyValue } from "../pickle/values.js";
import type { FileFault } from "./errors.js";
import { TorchStorage } from "./storage.js";

/** What stands for a function: the arguments are checked at once, the tensor is made once all of the file is known. */
export type Rebuild = (args: readonly PyValue[], expect: Expect, fault: FileFault) => () => Tensor;

/** A tensor of a storage, with a dtype of its own or the storage's. */
function strided(of: { readonly dtype: boolean; readonly grad: boolean }): Rebuild {
  return (args, expect, fault) => {
    const [stored, offset, size, stride, grad, , dtype] = args;
    const storage = storageOf(stored, expect);
    const place = [expect.int(offset), expect.sizes(size), expect.sizes(stride)] as const;
    const kind = of.dtype ? dtypeOf(dtype, expect) : storage.dtype;
    const requiresGrad = of.grad && expect.flag(grad);
    const bits = bitsOf(args[of.dtype ? 7 : 6]);
    return () => {
      let made = storage.tensor(kind, ...place, fault);
      if (bits.has("conj")) made = aten.conj_physical(made);
      if (bits.has("neg")) made = made.neg();
      return requiresGrad ? made.requiresGrad_() : made;
    };
  };
}

const parameter: Rebuild = (args, expect) => {
  const data = expect.made(args[0]);
  const requiresGrad = expect.flag(args[1]);
  return () => new Parameter(tensorIn(data, expect), { requiresGrad });
};

/** A tensor of a subclass, or one with attributes: those are Python's. */
const ofType: Rebuild = (args, expect) => {
  const [rebuild, , inner] = args;
  const made = expect.made(expect.global(rebuild).spec.call?.(expect.tuple(inner), expect.fault));
  return () => tensorIn(made, expect);
};

const sparse: Rebuild = (args, expect, fault) => {
  const layout = expect.made(args[0]).value;
  const [first, second, ...rest] = expect.tuple(args[1]);
  const parts = [expect.made(first), expect.made(second)] as const;
  if (layout === "torch.sparse_coo") {
    const size = sizesIn(rest[0], expect);
    const coalesced = rest[1] === undefined || rest[1] === null ? null : expect.flag(rest[1]);
    return () => coo([tensorIn(parts[0], expect), tensorIn(parts[1], expect), size], coalesced === true, fault);
  }
  const values = expect.made(rest[0]);
  const size = sizesIn(rest[1], expect);
  if (layout !== "torch.sparse_csr")
    throw fault(
      "TORCH_FILE_DTYPE",
      `expected sparse tensors of sparse_coo or sparse_csr. Received: ${String(layout)}.`,
    );
  return () => csr([tensorIn(parts[0], expect), tensorIn(parts[1], expect), tensorIn(values, expect), size], fault);
};

/** Indices that lie beyond the sizes would be read and written there by operators. */
function coo(
  parts: readonly [indices: Tensor, values: Tensor, size: number[]],
  coalesced: boolean,
  fault: FileFault,
): Tensor {
  valid(() => aten._validate_sparse_coo_tensor_args(...parts), fault);
  const made = sparseCooTensor(...parts);
  return coalesced ? made.coalesce() : made;
}
function csr(
  parts: readonly [rows: Tensor, columns: Tensor, values: Tensor, size: number[]],
  fault: FileFault,
): Tensor {
  valid(() => aten._validate_sparse_csr_tensor_args(...parts), fault);
  return sparseCompressedTensor(...parts, { layout: "sparseCsr" });
}
function valid(check: () => unknown, fault: FileFault): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof NbitError)) throw error;
    throw fault(
      "TORCH_FILE_TENSOR",
      `expected the indices of a sparse tensor to lie within it. Received: ${error.message}`,
    );
  }
}

const meta: Rebuild = (args, expect) => {
  const dtype = dtypeOf(args[0], expect);
  const size = sizesIn(args[1], expect);
  const stride = expect.sizes(args[2]);
  const requiresGrad = expect.flag(args[3]);
  return () => emptyStrided(size, stride, { dtype, device: "meta", requiresGrad });
};

/** From a tensor or an array on the CPU, for devices that have no storages. */
const copied: Rebuild = (args, expect) => {
  const data = expect.made(args[0]);
  const dtype = dtypeOf(args[1], expect);
  const requiresGrad = expect.flag(args[3]);
  return () => {
    const made = tensorIn(data, expect).to({ dtype });
    return requiresGrad ? made.requiresGrad_() : made;
  };
};

const refused =
  (what: string, fix: string): Rebuild =>
  (_, __, fault) => {
    throw fault("TORCH_FILE_DTYPE", `expected tensors with strides, or sparse ones. Received: ${what}. ${fix}`);
  };

/** By name in `torch._utils`, but for the last. */
export const REBUILD: Readonly<Record<string, Rebuild>> = {
  "torch._utils._rebuild_tensor": strided({ dtype: false, grad: false }),
  "torch._utils._rebuild_tensor_v2": strided({ dtype: false, grad: true }),
  "torch._utils._rebuild_tensor_v3": strided({ dtype: true, grad: true }),
  "torch._utils._rebuild_parameter": parameter,
  "torch._utils._rebuild_parameter_with_state": parameter,
  "torch._utils._rebuild_sparse_tensor": sparse,
  "torch._utils._rebuild_sparse_csr_tensor": sparse,
  "torch._utils._rebuild_meta_tensor_no_storage": meta,
  "torch._utils._rebuild_device_tensor_from_numpy": copied,
  "torch._utils._rebuild_device_tensor_from_cpu_tensor": copied,
  "torch._utils._rebuild_qtensor": refused("a quantized one", "In Python, save tensor.dequantize()."),
  "torch._utils._rebuild_nested_tensor": refused("a nested one", "In Python, save tensor.unbind()."),
  "torch._utils._rebuild_wrapper_subclass": refused("a subclass of Python's", "In Python, save what it wraps."),
  "torch._tensor._rebuild_from_type_v2": ofType,
};

function storageOf(value: PyValue | undefined, expect: Expect): TorchStorage {
  const made = value instanceof PyMade ? value.value : null;
  if (made instanceof TorchStorage) return made;
  throw expect.fault("damaged", `expected a storage for ${expect.name}.`);
}
function dtypeOf(value: PyValue | undefined, expect: Expect): DType {
  const { name } = expect.global(value);
  const dtype = name.replace(/^torch\./, "");
  if (isDType(dtype)) return dtype;
  throw expect.fault("damaged", `expected a dtype for ${expect.name}. Received: ${name}.`);
}
function sizesIn(value: PyValue | undefined, expect: Expect): number[] {
  const made: unknown = value instanceof PyMade ? value.value : null;
  return Array.isArray(made) ? made.map((n: unknown) => expect.int(n as PyValue)) : expect.sizes(value);
}
/** Conjugate and negative views keep that as bits beside the strides. */
function bitsOf(metadata: PyValue | undefined): ReadonlySet<PyValue> {
  return new Set(metadata instanceof PyDict ? metadata.entries.flatMap(([bit, on]) => (on === true ? [bit] : [])) : []);
}
function tensorIn(made: PyMade, expect: Expect): Tensor {
  const { value } = made;
  if (isTensor(value)) return value;
  throw expect.fault("damaged", `expected a tensor for ${expect.name}. Received: ${made.what}.`);
}
