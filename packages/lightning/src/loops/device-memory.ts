import { RandomState, Residents, type StepDevice } from "@nbit/xla/step";

/** What a run keeps on the device that it compiles for: programs that train, and those that do not, share it. */
export class DeviceMemory {
  readonly device: StepDevice;
  /** Tensors of the host that live there. */
  readonly residents: Residents;
  /** What random operators draw from there. */
  readonly random = new RandomState();

  constructor(device: StepDevice) {
    this.device = device;
    this.residents = new Residents(device);
  }

  /** Nothing stays there; `pulls`: values come to the host first. Waits for the device. */
  release(pulls: boolean): void {
    this.residents.release(pulls);
    this.random.release(pulls);
  }
}
