/** Bytes that training will hold, without activations. */
export interface MemoryForecast {
  readonly parameters: number;
  /** Float32 copies that the optimizer steps in place of 16-bit parameters. */
  readonly masters: number;
  readonly gradients: number;
  readonly optimizerState: number;
  /** 16-bit casts of weights that are kept from step to step. */
  readonly casts: number;
  readonly total: number;
}
