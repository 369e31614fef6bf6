/** Layers and their functions, as plain.ts lists what takes no options: each refuses whatever it does not know. */
export const LAYERS: Readonly<Record<string, string>> = {
  "torch.nn.":
    "AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d Bilinear Buffer CELU ChannelShuffle " +
    "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d " +
    "ConvTranspose1d ConvTranspose2d ConvTranspose3d CosineSimilarity CrossMapLRN2d EmbeddingBag " +
    "FeatureAlphaDropout Fold FractionalMaxPool2d FractionalMaxPool3d GLU Hardshrink Hardtanh " +
    "InstanceNorm1d InstanceNorm2d InstanceNorm3d LPPool1d LPPool2d LPPool3d LazyBatchNorm1d " +
    "LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d " +
    "LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d LazyInstanceNorm2d " +
    "LazyInstanceNorm3d LazyLinear LocalResponseNorm LogSigmoid MaxUnpool1d MaxUnpool2d MaxUnpool3d " +
    "ModuleDict PairwiseDistance ParameterDict ParameterList PixelShuffle PixelUnshuffle RReLU " +
    "ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d " +
    "ReplicationPad3d Softmax2d Softmin Softshrink Softsign Tanhshrink Threshold Unflatten Unfold " +
    "UninitializedBuffer UninitializedParameter Upsample UpsamplingBilinear2d UpsamplingNearest2d " +
    "ZeroPad1d ZeroPad2d ZeroPad3d",
  "torch.nn.AdaptiveAvgPool1d#": "forward",
  "torch.nn.AdaptiveAvgPool2d#": "forward",
  "torch.nn.AdaptiveAvgPool3d#": "forward",
  "torch.nn.AdaptiveMaxPool1d#": "forward",
  "torch.nn.AdaptiveMaxPool2d#": "forward",
  "torch.nn.AdaptiveMaxPool3d#": "forward",
  "torch.nn.AvgPool1d#": "forward",
  "torch.nn.AvgPool2d#": "forward",
  "torch.nn.AvgPool3d#": "forward",
  "torch.nn.Bilinear#": "forward resetParameters",
  "torch.nn.CELU#": "forward",
  "torch.nn.ChannelShuffle#": "forward",
  "torch.nn.Conv1d#": "forward",
  "torch.nn.Conv2d#": "forward",
  "torch.nn.Conv3d#": "forward",
  "torch.nn.ConvTranspose1d#": "forward",
  "torch.nn.ConvTranspose2d#": "forward",
  "torch.nn.ConvTranspose3d#": "forward",
  "torch.nn.CosineSimilarity#": "forward",
  "torch.nn.CrossMapLRN2d#": "forward",
  "torch.nn.Dropout1d#": "forward",
  "torch.nn.Dropout2d#": "forward",
  "torch.nn.Dropout3d#": "forward",
  "torch.nn.Embedding.": "fromPretrained",
  "torch.nn.EmbeddingBag#": "forward",
  "torch.nn.EmbeddingBag.": "fromPretrained",
  "torch.nn.FeatureAlphaDropout#": "forward",
  "torch.nn.Fold#": "forward",
  "torch.nn.FractionalMaxPool2d#": "forward",
  "torch.nn.FractionalMaxPool3d#": "forward",
  "torch.nn.GLU#": "forward",
  "torch.nn.GroupNorm#": "resetParameters",
  "torch.nn.Hardshrink#": "forward",
  "torch.nn.Hardtanh#": "forward",
  "torch.nn.LPPool1d#": "forward",
  "torch.nn.LPPool2d#": "forward",
  "torch.nn.LPPool3d#": "forward",
  "torch.nn.LayerNorm#": "resetParameters",
  "torch.nn.LazyBatchNorm1d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyBatchNorm2d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyBatchNorm3d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyConv1d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyConv2d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyConv3d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyConvTranspose1d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyConvTranspose2d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyConvTranspose3d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyInstanceNorm1d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyInstanceNorm2d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyInstanceNorm3d#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LazyLinear#": "forward hasUninitializedParams initializeParameters resetParameters",
  "torch.nn.LocalResponseNorm#": "forward",
  "torch.nn.LogSigmoid#": "forward",
  "torch.nn.MaxPool1d#": "forward",
  "torch.nn.MaxPool2d#": "forward",
  "torch.nn.MaxPool3d#": "forward",
  "torch.nn.MaxUnpool1d#": "forward",
  "torch.nn.MaxUnpool2d#": "forward",
  "torch.nn.MaxUnpool3d#": "forward",
  "torch.nn.ModuleDict#": "clear delete get has items keys pop set stateKey update values",
  "torch.nn.ModuleList#": "slice",
  "torch.nn.PReLU#": "resetParameters",
  "torch.nn.PairwiseDistance#": "forward",
  "torch.nn.ParameterDict#":
    "clear copy delete fromkeys get has items keys pop popitem set setdefault stateKey update values",
  "torch.nn.ParameterList#": "append at extend slice",
  "torch.nn.PixelShuffle#": "forward",
  "torch.nn.PixelUnshuffle#": "forward",
  "torch.nn.RMSNorm#": "resetParameters",
  "torch.nn.RReLU#": "forward",
  "torch.nn.Sequential#": "slice",
  "torch.nn.Softmax2d#": "forward",
  "torch.nn.Softmin#": "forward",
  "torch.nn.Softshrink#": "forward",
  "torch.nn.Softsign#": "forward",
  "torch.nn.Tanhshrink#": "forward",
  "torch.nn.Threshold#": "forward",
  "torch.nn.Unflatten#": "forward",
  "torch.nn.Unfold#": "forward",
  "torch.nn.UninitializedBuffer#": "materialize",
  "torch.nn.UninitializedParameter#": "materialize",
  "torch.nn.functional.":
    "adaptiveAvgPool1d adaptiveAvgPool2d adaptiveAvgPool3d adaptiveMaxPool1d " +
    "adaptiveMaxPool1dWithIndices adaptiveMaxPool2d adaptiveMaxPool2dWithIndices adaptiveMaxPool3d " +
    "adaptiveMaxPool3dWithIndices affineGrid alphaDropout avgPool1d avgPool2d avgPool3d batchNorm " +
    "bilinear celu celu_ channelShuffle cosineSimilarity dropout dropout1d dropout2d dropout3d elu " +
    "elu_ embedding embeddingBag featureAlphaDropout fold fractionalMaxPool2d " +
    "fractionalMaxPool2dWithIndices fractionalMaxPool3d fractionalMaxPool3dWithIndices gelu glu " +
    "gridSample groupNorm gumbelSoftmax hardshrink hardsigmoid hardswish hardtanh hardtanh_ " +
    "instanceNorm interpolate layerNorm leakyRelu leakyRelu_ localResponseNorm logSoftmax logsigmoid " +
    "lpPool1d lpPool2d lpPool3d maxPool1d maxPool1dWithIndices maxPool2d maxPool2dWithIndices " +
    "maxPool3d maxPool3dWithIndices maxUnpool1d maxUnpool2d maxUnpool3d mish nativeChannelShuffle " +
    "normalize oneHot pad pairwiseDistance pdist pixelShuffle pixelUnshuffle prelu relu relu6 relu_ " +
    "rmsNorm rrelu rrelu_ selu selu_ sigmoid silu softmax softmin softplus softshrink softsign tanh " +
    "tanhshrink threshold threshold_ unfold upsample upsampleBilinear upsampleNearest",
};
