/** The data set of the loader benchmark, which workers load from here. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Dataset, scope, type Tensor } from "@nbit/torch";
import { io, transforms } from "@nbit/vision";

export class Photos extends Dataset<Tensor> {
  readonly paths: readonly string[];
  readonly transform = new transforms.Compose([
    new transforms.RandomResizedCrop(224),
    new transforms.RandomHorizontalFlip(),
    new transforms.ToTensor(),
    new transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
  ]);
  constructor(folder: string) {
    super();
    this.paths = readdirSync(folder)
      .sort()
      .map((name) => join(folder, name));
  }
  get length(): number {
    return this.paths.length;
  }
  async get(i: number): Promise<Tensor> {
    const image = await io.readImage(this.paths[i] as string, "RGB");
    const made = scope(() => this.transform.forward(image));
    image.dispose();
    return made;
  }
}
