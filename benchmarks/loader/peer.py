"""One measurement of PyTorch's DataLoader: seconds of each pass, as JSON. Arguments: folder, workers, passes."""
import json
import os
import sys
import time
import warnings

import torch

warnings.filterwarnings("ignore")
KEPT = torch.library.Library("torchvision", "FRAGMENT")  # transforms need none of torchvision's own operators
for name in ("nms", "qnms"):
    KEPT.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from PIL import Image  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402
from torchvision import transforms as T  # noqa: E402


class Photos(Dataset):
    def __init__(self, folder):
        self.paths = sorted(os.path.join(folder, name) for name in os.listdir(folder))
        self.transform = T.Compose([
            T.RandomResizedCrop(224),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        with open(self.paths[i], "rb") as f:
            return self.transform(Image.open(f).convert("RGB"))


def main():
    folder, workers, passes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loader = DataLoader(Photos(folder), batch_size=32, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    times, images = [], 0
    for _ in range(passes + 1):  # the first begins the workers
        begin = time.perf_counter()
        for batch in loader:
            images += batch.shape[0]
        times.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": times[1:], "images": images // (passes + 1)}))


if __name__ == "__main__":
    main()
