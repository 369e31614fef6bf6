/** A pole on a cart: Barto, Sutton and Anderson, 1983, with the constants of Gymnasium's CartPole-v1. */

const [GRAVITY, MASS_CART, MASS_POLE, HALF_LENGTH, FORCE, SECONDS] = [9.8, 1, 0.1, 0.5, 10, 0.02];
const [FARTHEST, STEEPEST, LONGEST] = [2.4, (12 * 2 * Math.PI) / 360, 500];

export type State = readonly [x: number, xDot: number, theta: number, thetaDot: number];

export class CartPole {
  #state: State = [0, 0, 0, 0];
  #steps = 0;

  /** Begin anew from four small numbers, of [0, 1) each. */
  reset(draws: readonly number[]): State {
    this.#steps = 0;
    const [x, xDot, theta, thetaDot] = draws.map((u) => -0.05 + 0.1 * u) as [number, number, number, number];
    return (this.#state = [x, xDot, theta, thetaDot]);
  }

  /** Push to the left (0) or to the right (1) for a moment. */
  step(action: number): { readonly state: State; readonly reward: number; readonly done: boolean } {
    const [x, xDot, theta, thetaDot] = this.#state;
    const force = action === 1 ? FORCE : -FORCE;
    const [cos, sin] = [Math.cos(theta), Math.sin(theta)];
    const mass = MASS_CART + MASS_POLE;
    const push = (force + MASS_POLE * HALF_LENGTH * thetaDot * thetaDot * sin) / mass;
    const turn = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4 / 3 - (MASS_POLE * cos * cos) / mass));
    const pull = push - (MASS_POLE * HALF_LENGTH * turn * cos) / mass;
    this.#state = [x + SECONDS * xDot, xDot + SECONDS * pull, theta + SECONDS * thetaDot, thetaDot + SECONDS * turn];
    this.#steps++;
    const fell = Math.abs(this.#state[0]) > FARTHEST || Math.abs(this.#state[2]) > STEEPEST;
    return { state: this.#state, reward: 1, done: fell || this.#steps >= LONGEST };
  }
}
