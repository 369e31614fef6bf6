"""Normalisation layers, recurrent cells, and dropout where nothing is dropped."""

from dsl import F, V, case

case("training", "batch_norm", F(4, 3, 5, 5), F(3), F(3), F(3, grad=False), F(3, lo=0.5, hi=2, grad=False), True, 0.1, 1e-5, False)
case("evaluation", "batch_norm", F(4, 3, 5, 5), F(3), F(3), F(3, grad=False), F(3, lo=0.5, hi=2, grad=False), False, 0.1, 1e-5, False)
case("2-d, no weights", "batch_norm", F(8, 3), None, None, None, None, True, 0.1, 1e-5, False)
case("three results", "native_batch_norm", F(4, 3, 5), F(3), F(3), None, None, True, 0.1, 1e-5)
case("", "layer_norm", F(4, 6, 9), [9], F(9), F(9))
case("two dims, no weights", "layer_norm", F(4, 6, 9), [6, 9])
case("eps", "layer_norm", F(4, 9), [9], None, None, 0.01)
case("three results", "native_layer_norm", F(4, 9), [9], F(9), F(9), 1e-5)
case("", "group_norm", F(2, 6, 4), 3, F(6), F(6))
case("", "instance_norm", F(2, 3, 5), F(3), F(3), None, None, True, 0.1, 1e-5, False)
case("", "rms_norm", F(4, 9), [9], F(9))
case("evaluation", "dropout", F(3, 4), 0.5, False)
case("p 0", "dropout", F(3, 4), 0.0, True)
case("two results", "lstm_cell", F(2, 3), [F(2, 4), F(2, 4)], F(16, 3), F(16, 4), F(16), F(16))
case("", "gru_cell", F(2, 3), F(2, 4), F(12, 3), F(12, 4), F(12), F(12))
case("", "rnn_tanh_cell", F(2, 3), F(2, 4), F(4, 3), F(4, 4), F(4), F(4))
case("three results", "aten.lstm.input", F(5, 2, 3), [F(1, 2, 4), F(1, 2, 4)], [F(16, 3), F(16, 4), F(16), F(16)], True, 1, 0.0, True, False, False)
