"""A policy that learns to balance a pole, in PyTorch: writes losses.json."""

import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn, optim  # noqa: E402
from torch.distributions import Categorical  # noqa: E402
from torch.nn import functional as F  # noqa: E402

EPISODES, GAMMA = 12, 0.99
EPS = torch.finfo(torch.float32).eps
GRAVITY, MASS_CART, MASS_POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
FARTHEST, STEEPEST, LONGEST = 2.4, 12 * 2 * math.pi / 360, 500


class CartPole:
    def reset(self, draws):
        self.steps, self.state = 0, tuple(-0.05 + 0.1 * u for u in draws)
        return self.state

    def step(self, action):
        x, x_dot, theta, theta_dot = self.state
        force = FORCE if action == 1 else -FORCE
        cos, sin, mass = math.cos(theta), math.sin(theta), MASS_CART + MASS_POLE
        push = (force + MASS_POLE * HALF_LENGTH * theta_dot * theta_dot * sin) / mass
        turn = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4 / 3 - (MASS_POLE * cos * cos) / mass))
        pull = push - (MASS_POLE * HALF_LENGTH * turn * cos) / mass
        self.state = (x + SECONDS * x_dot, x_dot + SECONDS * pull, theta + SECONDS * theta_dot, theta_dot + SECONDS * turn)
        self.steps += 1
        return self.state, abs(self.state[0]) > FARTHEST or abs(self.state[2]) > STEEPEST or self.steps >= LONGEST


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 128)
        self.dropout = nn.Dropout(p=0.6)
        self.affine2 = nn.Linear(128, 2)

    def forward(self, x):
        return F.softmax(self.affine2(F.relu(self.dropout(self.affine1(x)))).float(), dim=1)


def train(precision):
    torch.manual_seed(543)
    env, policy = CartPole(), Policy()
    optimizer = optim.Adam(policy.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    losses, lengths = [], []
    for _ in range(EPISODES):
        state, done, saved, rewards = env.reset(torch.rand(4, dtype=torch.float64).tolist()), False, [], []
        while not done:
            with region(precision):
                probs = policy(torch.tensor(state, dtype=torch.float32).unsqueeze(0))
            m = Categorical(probs)
            action = m.sample()
            saved.append(m.log_prob(action))
            state, done = env.step(action.item())
            rewards.append(1.0)
        total, returns = 0.0, []
        for r in reversed(rewards):
            total = r + GAMMA * total
            returns.insert(0, total)
        returns = torch.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + EPS)
        optimizer.zero_grad()
        loss = torch.cat([-log_prob * r for log_prob, r in zip(saved, returns)]).sum()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
        lengths.append(len(rewards))
    return {"loss": losses, "length": lengths}


write(__file__, {precision: train(precision) for precision in ("32",)})
