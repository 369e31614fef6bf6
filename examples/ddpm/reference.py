"""The diffusion model in PyTorch: writes losses.json."""

import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import pictures, region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

STEPS, SIZE, TIMESTEPS = 24, 16, 50


class SinusoidalPosEmb(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, time):
        half = self.dim // 2
        angles = time.float().unsqueeze(1) * torch.exp(torch.arange(half, dtype=torch.float) * (-math.log(10000) / (half - 1)))
        return torch.cat([angles.sin(), angles.cos()], -1)


class Block(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.proj, self.norm, self.act = nn.Conv2d(n_in, n_out, 3, padding=1), nn.GroupNorm(4, n_out), nn.SiLU()

    def forward(self, x, scale_shift=None):
        y = self.norm(self.proj(x))
        if scale_shift is not None:
            y = y * (scale_shift[0] + 1) + scale_shift[1]
        return self.act(y)


class ResnetBlock(nn.Module):
    def __init__(self, n_in, n_out, time):
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time, n_out * 2))
        self.block1, self.block2 = Block(n_in, n_out), Block(n_out, n_out)
        self.res_conv = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else nn.Identity()

    def forward(self, x, time):
        scale_shift = self.mlp(time)[:, :, None, None].chunk(2, 1)
        return self.block2(self.block1(x, scale_shift)) + self.res_conv(x)


class Attention(nn.Module):
    def __init__(self, dim, heads=2, dim_head=8):
        super().__init__()
        self.heads, self.dim_head = heads, dim_head
        self.norm = nn.GroupNorm(1, dim)
        self.to_qkv = nn.Conv2d(dim, heads * dim_head * 3, 1, bias=False)
        self.to_out = nn.Conv2d(heads * dim_head, dim, 1)

    def forward(self, x):
        b, _, h, w = x.shape
        q, k, v = (t.reshape(b, self.heads, self.dim_head, h * w).transpose(2, 3) for t in self.to_qkv(self.norm(x)).chunk(3, 1))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(out.transpose(2, 3).reshape(b, -1, h, w)) + x


class Unet(nn.Module):
    def __init__(self, dim, channels):
        super().__init__()
        time = dim * 4
        self.init_conv = nn.Conv2d(channels, dim, 7, padding=3)
        self.time_mlp = nn.Sequential(SinusoidalPosEmb(dim), nn.Linear(dim, time), nn.GELU(), nn.Linear(time, time))
        self.block1 = ResnetBlock(dim, dim, time)
        self.down = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(dim * 4, dim * 2, 1))
        self.block2 = ResnetBlock(dim * 2, dim * 2, time)
        self.mid_block1 = ResnetBlock(dim * 2, dim * 2, time)
        self.mid_attn = Attention(dim * 2)
        self.mid_block2 = ResnetBlock(dim * 2, dim * 2, time)
        self.block3 = ResnetBlock(dim * 4, dim * 2, time)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(dim * 2, dim, 3, padding=1))
        self.block4 = ResnetBlock(dim * 2, dim, time)
        self.final_conv = nn.Conv2d(dim, channels, 1)

    def forward(self, x, time):
        t = self.time_mlp(time)
        large = self.block1(self.init_conv(x), t)
        small = self.block2(self.down(large), t)
        y = self.mid_block2(self.mid_attn(self.mid_block1(small, t)), t)
        y = self.block3(torch.cat([y, small], 1), t)
        return self.final_conv(self.block4(torch.cat([self.up(y), large], 1), t))


def extract(a, t):
    return a.gather(-1, t).view(-1, 1, 1, 1)


class GaussianDiffusion(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model
        scale = 1000 / TIMESTEPS
        betas = torch.linspace(scale * 0.0001, scale * 0.02, TIMESTEPS, dtype=torch.float64)
        alphas = 1 - betas
        products = alphas.cumprod(0)
        before = F.pad(products[:-1], (1, 0), value=1.0)
        self.register_buffer("betas", betas.float())
        self.register_buffer("signal", products.sqrt().float())
        self.register_buffer("noise", (1 - products).sqrt().float())
        self.register_buffer("sqrt_recip_alphas", alphas.rsqrt().float())
        self.register_buffer("posterior_variance", (betas * (1 - before) / (1 - products)).float())

    def forward(self, images):
        t = torch.randint(0, TIMESTEPS, (len(images),)).long()
        x_start = images * 2 - 1
        noise = torch.randn_like(x_start)
        with torch.autocast("cpu", enabled=False):
            x = extract(self.signal, t) * x_start + extract(self.noise, t) * noise
        return F.mse_loss(self.model(x, t), noise)

    @torch.no_grad()
    def sample(self, n):
        x = torch.randn(n, 1, SIZE, SIZE)
        for step in reversed(range(TIMESTEPS)):
            t = torch.full((n,), step)
            part = extract(self.betas, t) / extract(self.noise, t)
            x = (x - part * self.model(x, t)) * extract(self.sqrt_recip_alphas, t)
            if step > 0:
                x = x + extract(self.posterior_variance, t).sqrt() * torch.randn_like(x)
        return (x.clamp(-1, 1) + 1) / 2


def train(precision):
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(pictures(128, 1, SIZE)[0]), batch_size=8, shuffle=True)
    diffusion = GaussianDiffusion(Unet(16, 1))
    optimizer = torch.optim.Adam(diffusion.parameters(), lr=1e-3, betas=(0.9, 0.99))
    ema = AveragedModel(diffusion, multi_avg_fn=get_ema_multi_avg_fn(0.95))
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    losses = []
    while len(losses) < STEPS:
        for (data,) in loader:
            with region(precision):
                loss = diffusion(data)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            ema.update_parameters(diffusion)
            losses.append(loss.item())
            if len(losses) == STEPS:
                break
    return {"loss": losses, "samples": ema.module.sample(4).mean((1, 2, 3)).tolist()}


write(__file__, {precision: train(precision) for precision in ("32", "bf16", "16")})
