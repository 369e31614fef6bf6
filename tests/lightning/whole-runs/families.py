"""Five families of models, each small: the twins of families.ts, line by line."""

import lightning as L
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

EPOCHS = {"stopping": 8}
STEPS = 8 * 3
SCHEDULED = {"step", "epoch", "plateau", "together"}


def scheduler_of(opt, variant):
    if variant == "step":
        return lr_scheduler.OneCycleLR(opt, max_lr=0.02, total_steps=STEPS)
    if variant == "epoch":
        return lr_scheduler.ExponentialLR(opt, 0.5)
    if variant == "plateau":
        return lr_scheduler.ReduceLROnPlateau(opt, factor=0.25, patience=0, threshold=0.05)
    return lr_scheduler.CosineAnnealingLR(opt, 5)


class Recorded(L.LightningModule):
    """Keeps the loss of every step, and its learning rates where something schedules them."""

    def __init__(self, variant):
        super().__init__()
        self.variant = variant
        self.losses, self.rates = [], []

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.variant in SCHEDULED:
            self.rates += [group["lr"] for opt in self.trainer.optimizers for group in opt.param_groups]


class Classifier(Recorded):
    """Predicts classes; how it is optimized and scheduled depends on the variant."""

    lr, adam = 0.01, True

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)[0]
        self.losses.append(loss.detach())
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        loss, scores, y = self.loss(batch)
        self.log_dict({"val_loss": loss, "val_acc": (scores.argmax(-1) == y).float().mean()})

    def loss(self, batch):
        x, y = batch
        scores = self(x)
        return F.cross_entropy(scores, y), scores, y

    def configure_optimizers(self):
        lr = self.lr * (10 if self.variant == "stopping" else 1)
        if self.adam:
            opt = torch.optim.AdamW(self.parameters(), lr=lr, weight_decay=0.1)
        else:
            opt = torch.optim.SGD(self.parameters(), lr=lr, momentum=0.9, weight_decay=0.01, nesterov=True)
        if self.variant not in SCHEDULED:
            return opt
        config = {"scheduler": scheduler_of(opt, self.variant), "interval": "step" if self.variant in ("step", "together") else "epoch"}
        if self.variant == "plateau":
            config["monitor"] = "val_loss"
        if self.variant == "together":
            config["frequency"] = 2
        return {"optimizer": opt, "lr_scheduler": config}


class CNN(Classifier):
    lr, adam = 0.05, False

    def __init__(self, variant):
        super().__init__(variant)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.1),
            nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.SiLU(),
        )
        self.head = nn.Linear(8, 4)

    @staticmethod
    def data(n):
        return torch.randn(n, 1, 10, 10), torch.randint(0, 4, (n,))

    def forward(self, x):
        return self.head(self.layers(x).mean((2, 3)))


class LSTM(Classifier):
    def __init__(self, variant):
        super().__init__(variant)
        self.embedding = nn.Embedding(12, 8)
        self.rnn = nn.LSTM(8, 12, num_layers=2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(12, 4)

    @staticmethod
    def data(n):
        return torch.randint(0, 12, (n, 7)), torch.randint(0, 4, (n,))

    def forward(self, x):
        x = self.embedding(x)
        if torch.is_autocast_enabled("cpu"):  # oneDNN has no such LSTM on most processors; nbit computes in float32 instead
            with torch.autocast("cpu", enabled=False):
                x = self.rnn(x.float())[0]
        else:
            x = self.rnn(x)[0]
        return self.head(x[:, -1])


class GPTBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim), nn.Dropout(0.1))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, c // self.heads).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(c, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp(self.norm2(x))


class GPT(Classifier):
    """Its head's weights are those of its embedding."""

    def __init__(self, variant):
        super().__init__(variant)
        self.tokens = nn.Embedding(12, 16)
        self.positions = nn.Embedding(8, 16)
        self.blocks = nn.Sequential(GPTBlock(16, 2), GPTBlock(16, 2))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 12, bias=False)
        self.tokens.weight = self.head.weight

    @staticmethod
    def data(n):
        words = torch.randint(0, 12, (n, 9))
        return words[:, :-1].contiguous(), words[:, 1:].contiguous()

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.tokens(x) + self.positions(torch.arange(x.shape[1])))))

    def loss(self, batch):
        x, y = batch
        scores = self(x)
        return F.cross_entropy(scores.view(-1, 12), y.view(-1)), scores, y


class ViTBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, dropout=0.1, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * dim, dim))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(Classifier):
    lr, adam = 0.05, False

    def __init__(self, variant):
        super().__init__(variant)
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 10, 16) * 0.02)
        self.blocks = nn.Sequential(ViTBlock(16, 2), ViTBlock(16, 2))
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 4)

    @staticmethod
    def data(n):
        return torch.randn(n, 3, 12, 12), torch.randint(0, 4, (n,))

    def forward(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.positions
        return self.head(self.norm(self.blocks(tokens)[:, 0]))


class GAN(Recorded):
    """Optimized by hand: two optimizers in turn, and what the Trainer does for others done here."""

    def __init__(self, variant):
        super().__init__(variant)
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(6, 24), nn.BatchNorm1d(24), nn.LeakyReLU(0.2), nn.Linear(24, 16), nn.Tanh())
        self.discriminator = nn.Sequential(nn.Linear(16, 24), nn.LeakyReLU(0.2), nn.Linear(24, 1))

    @staticmethod
    def data(n):
        return torch.randn(n, 16).tanh(), torch.randint(0, 4, (n,))

    def forward(self, z):
        return self.generator(z)

    def judged(self, x, real):
        scores = self.discriminator(x)
        return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(real)))

    def training_step(self, batch, batch_idx):
        images = batch[0]
        noise = torch.randn(len(images), 6, dtype=images.dtype)
        last = not self.accumulates or batch_idx % 3 == 2 or self.trainer.is_last_batch
        for name, opt in zip(("g_loss", "d_loss"), self.optimizers()):
            self.toggle_optimizer(opt)
            if name == "g_loss":
                loss = self.judged(self(noise), True)
            else:
                loss = (self.judged(images, True) + self.judged(self(noise).detach(), False)) / 2
            self.losses.append(loss.detach())
            self.log(name, loss, on_step=True, on_epoch=True)
            self.manual_backward(loss / 3 if self.accumulates else loss)
            if last:
                if self.variant in ("norm", "value", "together"):
                    self.clip_gradients(opt, gradient_clip_val=0.005 if self.variant == "value" else 0.1, gradient_clip_algorithm="value" if self.variant == "value" else "norm")
                opt.step()
                opt.zero_grad()
            self.untoggle_optimizer(opt)
        if self.variant == "step" or (self.variant == "together" and last):
            for scheduler in self.lr_schedulers():
                scheduler.step()

    @property
    def accumulates(self):
        return self.variant in ("accumulation", "together")

    def validation_step(self, batch, batch_idx):
        images = batch[0]
        noise = torch.randn(len(images), 6, dtype=images.dtype)
        self.log("val_loss", self.judged(images, True) + self.judged(self(noise), False))

    def on_train_epoch_end(self):
        if self.variant in ("epoch", "plateau"):
            for scheduler in self.lr_schedulers():
                scheduler.step(*([self.trainer.callback_metrics["val_loss"]] if self.variant == "plateau" else []))

    def configure_optimizers(self):
        lr = 0.05 if self.variant == "stopping" else 0.005
        opts = [torch.optim.Adam(part.parameters(), lr=lr, betas=(0.5, 0.999)) for part in (self.generator, self.discriminator)]
        if self.variant not in SCHEDULED:
            return opts
        return opts, [scheduler_of(opt, self.variant) for opt in opts]


FAMILIES = {"cnn": CNN, "lstm": LSTM, "gpt": GPT, "vit": ViT, "gan": GAN}
