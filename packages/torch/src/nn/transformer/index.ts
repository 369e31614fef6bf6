export { MultiheadAttention, type AttentionInputs, type MultiheadAttentionArguments } from "./multihead-attention.js";
export {
  TransformerEncoder,
  TransformerEncoderLayer,
  type EncoderArguments,
  type EncoderInputs,
  type EncoderLayerInputs,
} from "./encoder.js";
export {
  TransformerDecoder,
  TransformerDecoderLayer,
  type DecoderArguments,
  type DecoderInputs,
  type DecoderLayerInputs,
} from "./decoder.js";
export { Transformer, type TransformerArguments, type TransformerInputs } from "./transformer.js";
export type { Activation, LayerArguments } from "./options.js";
