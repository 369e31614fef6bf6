/**
 * What backward and the loss watch stumble on, in terms of the step method that returned the loss. Looked at only when
 * something has failed: a good step pays nothing.
 */
import { Tensor, TorchError, verbatim } from "@nbit/torch";
import { MisconfigurationError } from "../errors.js";

/** A loss that cannot be trained on, as an error of the step that returned it; any other error as it is. */
export function explainLoss(error: unknown, loss: unknown): unknown {
  if (!(error instanceof TorchError) || !(loss instanceof Tensor) || loss.disposed) return error;
  const fail = (expected: string, received: unknown, fix: string, code: string): MisconfigurationError => {
    const made = new MisconfigurationError("trainingStep", expected, received, fix, code);
    made.cause = error;
    return made;
  };
  if (loss.numel() !== 1)
    return fail("a loss of one element", loss, "Reduce it, for example with mean().", "ERR_LOSS_SHAPE");
  if (!loss.requiresGrad)
    return fail(
      "a loss that depends on parameters that learn",
      loss,
      "Nothing connects it to them: are all of them frozen, or was it made under noGrad, with detach(), or from numbers?",
      "ERR_LOSS_GRAPH",
    );
  if (error.message.includes("backward through the graph a second time"))
    return fail(
      "a loss whose graph is still there",
      loss,
      "backward has been called on it, or on what it shares with a loss of an earlier step. The Trainer calls backward itself: remove that call, or set automaticOptimization = false and call manualBackward(loss); detach() what you keep between steps.",
      "ERR_BACKWARD_TWICE",
    );
  return error;
}

const NEEDS_GRAPH = /does not require grad|[Ii]nference tensor/;

/**
 * What an evaluation step stumbles on that asks for gradients, in terms of how to get them there; any other error as it
 * is.
 */
export function explainGradients(error: unknown, step: string, inference: boolean): unknown {
  if (!(error instanceof TorchError) || !NEEDS_GRAPH.test(error.message)) return error;
  const made = inference
    ? new MisconfigurationError(
        step,
        "no gradients, since it runs in inference mode",
        verbatim(error.message),
        "Pass inferenceMode: false to the Trainer, and ask for them within enableGrad(() => …).",
        "ERR_INFERENCE_MODE",
      )
    : new MisconfigurationError(
        step,
        "gradients of what was recorded",
        verbatim(error.message),
        "Nothing is recorded during evaluation: compute and ask for them within enableGrad(() => …).",
        "ERR_EVALUATION_GRAD",
      );
  made.cause = error;
  return made;
}
