export {
  RNNBase,
  type ProjectedArguments,
  type RecurrentArguments,
  type RNNBaseArguments,
  type RNNMode,
} from "./base.js";
export { GRU, LSTM, RNN, type LSTMState, type RNNArguments } from "./layers.js";
export { GRUCell, LSTMCell, RNNCell, RNNCellBase, type CellArguments, type RNNCellArguments } from "./cells.js";
