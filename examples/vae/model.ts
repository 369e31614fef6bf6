/** A variational autoencoder of handwritten digits, as in PyTorch's examples. */
import { nn, randnLike } from "@nbit/torch";
import type { Tensor } from "@nbit/torch";

const F = nn.functional;

export class VAE extends nn.Module {
  fc1 = new nn.Linear(784, 400);
  fc21 = new nn.Linear(400, 20);
  fc22 = new nn.Linear(400, 20);
  fc3 = new nn.Linear(20, 400);
  fc4 = new nn.Linear(400, 784);

  /** The mean and the logarithm of the variance of the code of each image. */
  encode(x: Tensor): [mu: Tensor, logvar: Tensor] {
    const h1 = F.relu(this.fc1.call(x));
    return [this.fc21.call(h1), this.fc22.call(h1)];
  }

  reparameterize(mu: Tensor, logvar: Tensor): Tensor {
    const std = logvar.mul(0.5).exp();
    return randnLike(std).mul(std).add(mu);
  }

  /** Pixels in (0, 1). In float32, whatever the layers compute in: a probability of 1 - 1e-5 is 1 in 16 bits. */
  decode(z: Tensor): Tensor {
    const h3 = F.relu(this.fc3.call(z));
    return this.fc4.call(h3).float().sigmoid();
  }

  override forward(x: Tensor): [reconstruction: Tensor, mu: Tensor, logvar: Tensor] {
    const [mu, logvar] = this.encode(x.view(-1, 784));
    return [this.decode(this.reparameterize(mu, logvar)), mu, logvar];
  }
}

/** What the pixels lack, plus how far the codes are from N(0, 1): Kingma and Welling, 2013, appendix B. */
export function lossFunction(reconstruction: Tensor, x: Tensor, mu: Tensor, logvar: Tensor): Tensor {
  const BCE = F.binaryCrossEntropy(reconstruction, x.view(-1, 784), { reduction: "sum" });
  const KLD = logvar.add(1).sub(mu.pow(2)).sub(logvar.exp()).sum().mul(-0.5);
  return BCE.add(KLD);
}
