/** What takes no options beyond what its signature reads, at the top level and in the small namespaces: see plain.ts. */
export const TOPLEVEL: Readonly<Record<string, string>> = {
  "torch.autograd.":
    "enableGrad gradcheck gradgradcheck inferenceMode isAnomalyEnabled isGradEnabled noGrad setDetectAnomaly setGradEnabled",
  "torch.autograd.functional.": "hessian hvp jacobian jvp vhp vjp",
  "torch.autograd.graph.": "savedTensorsHooks",
  "torch.":
    "areDeterministicAlgorithmsEnabled asTensor asarray conj fromNumpy frombuffer getDefaultDevice getDevice " +
    "getNumInteropThreads iinfo isConj isDeterministicAlgorithmsWarnOnlyEnabled isInference isNeg isSameSize " +
    "isSigned isStorage lobpcg numel pcaLowrank saddmm setDefaultDevice setDefaultTensorType setFlushDenormal " +
    "setNumInteropThreads spmm svdLowrank typename unique uniqueConsecutive unravelIndex",
  "torch.Tensor#":
    "cfloat cdouble conj elementSize ndimension nelement getDevice isConj isNeg isSigned isSameSize newTensor " +
    "toSparseCoo unique uniqueConsecutive",
  "torch.accelerator.":
    "currentAccelerator currentDeviceIndex currentStream deviceCount deviceIndex emptyCache emptyHostCache " +
    "getDeviceCapability getMemoryInfo isAvailable maxMemoryAllocated maxMemoryReserved memoryAllocated " +
    "memoryReserved memoryStats resetAccumulatedMemoryStats resetPeakMemoryStats setDeviceIndex setStream " +
    "synchronize",
  "torch.amp.": "isAutocastAvailable",
  "torch.cuda.": "currentStream getDeviceName isBf16Supported isBuilt setStream",
  "torch.random.": "seed setRngState",
};
