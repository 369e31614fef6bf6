import { setGradEnabled } from "@nbit/torch";

/** Evaluations under way in this thread, and what held before the first of them. */
let evaluations = 0;
let before = true;

/**
 * Record nothing until what is returned is called. The mode is the thread's, and runs of one process take turns while they wait: only the last evaluation that ends sets back what the first one found.
 */
export function gradientsOff(): () => void {
  const was = setGradEnabled(false);
  if (evaluations++ === 0) before = was;
  return () => {
    evaluations--;
    setGradEnabled(evaluations === 0 && before);
  };
}
