"""Translation by an encoder and a decoder with attention in PyTorch: writes losses.json."""

import pathlib
import re
import sys
import unicodedata

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "shared"))
from twin import region, write  # noqa: E402  (before torch)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import DataLoader, RandomSampler, TensorDataset  # noqa: E402

STEPS, EVALUATE_EVERY, SIZE, BATCH, LENGTH = 24, 8, 64, 32, 8
SUBJECTS = """I am,je,suis,
you are,tu,es,
he is,il,est,
she is,elle,est,e
we are,nous,sommes,s
they are,elles,sont,es"""
DEGREES = ",;very,très;too,trop;not,pas;not very,pas très"
ADJECTIVES = (
    "tired,fatigué;small,petit;tall,grand;happy,content;alone,seul;"
    "strong,fort;lost,perdu;busy,occupé;ready,prêt;hidden,caché"
)


def normalize(s):
    s = "".join(c for c in unicodedata.normalize("NFD", s.lower()) if unicodedata.category(c) != "Mn")
    return re.sub(r"[^a-z!?.]+", " ", re.sub(r"([.!?])", r" \1", s)).strip()


def sentences():
    for subject, pronoun, verb, ending in (line.split(",") for line in SUBJECTS.split("\n")):
        for degree, french in (d.split(",") for d in DEGREES.split(";")):
            for adjective, masculine in (a.split(",") for a in ADJECTIVES.split(";")):
                negation = "ne " if french.startswith("pas") else ""
                yield f"{pronoun} {negation}{verb} {french} {masculine}{ending}.", f"{subject} {degree} {adjective}."


def numbered(texts):
    numbers = {"SOS": 0, "EOS": 1}
    rows = []
    for text in texts:
        ids = [numbers.setdefault(word, len(numbers)) for word in text.split(" ")] + [1]
        rows.append(ids + [0] * (LENGTH - len(ids)))
    return torch.tensor(rows), len(numbers)


class Encoder(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.embedding = nn.Embedding(words, SIZE)
        self.gru = nn.GRU(SIZE, SIZE, batch_first=True)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        return self.gru(self.dropout(self.embedding(x)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.Wa, self.Ua, self.Va = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE), nn.Linear(SIZE, 1)

    def forward(self, query, keys):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys)))
        return torch.bmm(F.softmax(scores.squeeze(2).unsqueeze(1), -1), keys)


class Decoder(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.embedding = nn.Embedding(words, SIZE)
        self.attention = Attention()
        self.gru = nn.GRU(2 * SIZE, SIZE, batch_first=True)
        self.out = nn.Linear(SIZE, words)
        self.dropout = nn.Dropout(0.1)

    def forward(self, keys, state, target):
        word = torch.zeros(len(keys), 1, dtype=torch.long)
        outputs = []
        for i in range(LENGTH):
            embedded = self.dropout(self.embedding(word))
            context = self.attention(state.permute(1, 0, 2), keys)
            y, state = self.gru(torch.cat((embedded, context), 2), state)
            outputs.append(self.out(y))
            word = outputs[-1].topk(1)[1].squeeze(-1).detach() if target is None else target[:, i].unsqueeze(1)
        return F.log_softmax(torch.cat(outputs, 1).float(), -1)


def train(precision):
    torch.manual_seed(3)
    french, english = zip(*((normalize(f), normalize(e)) for f, e in sentences()))
    (inputs, n_in), (targets, n_out) = numbered(french), numbered(english)
    kept = torch.arange(len(inputs)) % 7 != 0
    data = TensorDataset(inputs[kept], targets[kept])
    loader = DataLoader(data, sampler=RandomSampler(data), batch_size=BATCH)
    encoder, decoder = Encoder(n_in), Decoder(n_out)
    optimizers = [torch.optim.Adam(m.parameters(), lr=0.005) for m in (encoder, decoder)]
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "16")
    criterion = nn.NLLLoss()

    def loss_of(x, y, forced):
        with region(precision):
            output = decoder(*encoder(x), y if forced else None)
        return criterion(output.flatten(0, 1), y.flatten())

    losses, unseen = [], []
    while len(losses) < STEPS:
        for x, y in loader:
            if len(losses) == STEPS:
                break
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss = loss_of(x, y, True)
            scaler.scale(loss).backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
            if len(losses) % EVALUATE_EVERY == 0:
                encoder.eval(), decoder.eval()
                with torch.no_grad():
                    unseen.append(loss_of(inputs[~kept], targets[~kept], False).item())
                encoder.train(), decoder.train()
    return {"loss": losses, "unseen": unseen}


write(__file__, {precision: train(precision) for precision in ("32", "bf16", "16")})
