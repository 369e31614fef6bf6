"""What torchvision's transforms make of tensors: transforms.jsonl beside this file.

Run with PyTorch 2.13 and torchvision 0.28: python make_transforms.py
"""
import base64
import json
import os

os.environ["ATEN_CPU_CAPABILITY"] = "avx2"  # with which torchvision resizes bytes by the kernels for bytes
import torch  # noqa: E402

# torchvision's own operators are not needed: where its library does not load, its Python code does with this.
KEPT = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    KEPT.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torchvision import transforms as T  # noqa: E402
from torchvision.transforms import functional as F, v2  # noqa: E402
from torchvision.utils import make_grid  # noqa: E402

U8, F32 = "uint8", "float32"


def image(shape, dtype, seed):
    torch.manual_seed(seed)
    if dtype == U8:
        return torch.randint(0, 256, shape, dtype=torch.uint8)
    return torch.rand(shape, dtype=getattr(torch, dtype))


def case(call, *args, dtype=U8, shape=(3, 12, 10), seed=1, **kwargs):
    return dict(call=call, args=list(args), kwargs=kwargs, dtype=dtype, shape=list(shape), seed=seed)


CASES = [
    case("ToTensor"), case("ConvertImageDtype", "float32"), case("ConvertImageDtype", "int32"),
    case("ConvertImageDtype", "uint8", dtype=F32), case("ConvertImageDtype", "int16"),
    case("Resize", 6), case("Resize", [7, 5]), case("Resize", 20, dtype=F32), case("Resize", 6, max_size=7),
    case("Resize", [5], interpolation="bicubic"), case("Resize", [18, 17], "bicubic", dtype=F32),
    case("Resize", [5, 6], "nearest"), case("Resize", [5, 6], "nearest-exact"), case("Resize", 5, antialias=False),
    case("Resize", [5, 8], "bicubic", antialias=False, dtype=F32), case("Resize", 6, shape=(2, 3, 12, 10)),
    case("Resize", 6, dtype="float64"), case("Resize", 4, shape=(1, 5, 9)),
    case("CenterCrop", 6), case("CenterCrop", [5, 8], dtype=F32), case("CenterCrop", [15, 7]), case("CenterCrop", 20),
    case("Pad", 2), case("Pad", [1, 2], 7), case("Pad", [1, 2, 3, 4], 0.5, "constant", dtype=F32),
    case("Pad", [1, 2, 3, 4], padding_mode="edge"), case("Pad", 3, padding_mode="reflect", dtype=F32),
    case("Pad", [3, 1, 2, 4], padding_mode="symmetric"), case("Pad", [-1, 2, -2, 1]),
    case("Normalize", [0.1, 0.2, 0.3], [0.5, 0.6, 0.7], dtype=F32), case("Normalize", [0.5], [0.25], True, dtype=F32),
    case("Grayscale"), case("Grayscale", 3, dtype=F32), case("Grayscale", 3, shape=(1, 6, 5)),
    case("RandomHorizontalFlip"), case("RandomHorizontalFlip", 1.0, dtype=F32), case("RandomVerticalFlip", p=0.9),
    *[case("RandomCrop", 6, seed=s) for s in (1, 2)],
    case("RandomCrop", [8, 9], 2, fill=3, padding_mode="constant"), case("RandomCrop", 14, pad_if_needed=True, dtype=F32),
    case("RandomCrop", [5, 6], padding=[2, 1], padding_mode="reflect"),
    *[case("RandomResizedCrop", 6, seed=s) for s in (1, 2, 3)], case("RandomResizedCrop", [4, 7], [0.3, 0.6], [0.5, 2.0], dtype=F32),
    case("RandomResizedCrop", 5, scale=[4.0, 5.0]), case("RandomResizedCrop", 5, [4.0, 5.0], [2.0, 3.0]),
    case("RandomResizedCrop", 6, interpolation="bicubic", antialias=False),
    *[case("ColorJitter", 0.4, 0.4, 0.4, 0.1, seed=s) for s in (1, 2, 3)],
    case("ColorJitter", 0.5, [0.2, 1.9], 2, [-0.3, 0.4], dtype=F32), case("ColorJitter", hue=0.5),
    case("ColorJitter", 0.3, 0.2, shape=(1, 6, 5)), case("ColorJitter"),
    case("RandomRotation", 30), case("RandomRotation", [10, 80], "bilinear", True), case("RandomRotation", 45, dtype=F32, fill=0.5),
    case("RandomRotation", 90, center=[2, 3], fill=[1, 2, 3], interpolation="bilinear"), case("RandomRotation", 20, expand=True),
    case("RandomAffine", 20), case("RandomAffine", [0, 30], [0.2, 0.3], [0.7, 1.4], 15, dtype=F32),
    case("RandomAffine", 10, translate=[0.1, 0.1], shear=[-10, 10, -5, 5], interpolation="bilinear", fill=9, center=[3, 4]),
    case("RandomGrayscale", 0.9), case("RandomInvert", 1.0), case("RandomInvert", 1.0, dtype=F32), case("RandomPosterize", 3, 1.0),
    case("RandomSolarize", 100, 1.0), case("RandomSolarize", threshold=0.4, p=1.0, dtype=F32),
    case("RandomAdjustSharpness", 2, 1.0), case("RandomAdjustSharpness", 0.3, 1.0, dtype=F32),
    case("RandomAutocontrast", 1.0), case("RandomAutocontrast", 1.0, dtype=F32), case("RandomEqualize", 1.0),
    case("RandomEqualize", 1.0, shape=(3, 40, 40)), case("GaussianBlur", 3), case("GaussianBlur", [3, 5], [0.5, 3.0], dtype=F32),
    case("GaussianBlur", 5, sigma=1.5),
    *[case("RandomErasing", 1.0, seed=s) for s in (1, 2)],
    case("RandomErasing", 0.9, [0.1, 0.4], [0.5, 2.0], [1, 2, 3], dtype=F32), case("RandomErasing", 1.0, value="random", dtype=F32),
    case("RandomErasing", p=1.0, value=7, inplace=True), case("RandomErasing", 1.0, [0.9, 1.0]),
    *[case("RandAugment", seed=s) for s in range(1, 9)], case("RandAugment", 3, 20, 31, "bilinear", [1.0, 2.0, 3.0]),
    case("RandAugment", num_ops=5, magnitude=4, num_magnitude_bins=11),
    *[case("TrivialAugmentWide", seed=s) for s in range(1, 9)],
    *[case("AutoAugment", p, seed=s) for p in ("imagenet", "cifar10", "svhn") for s in (1, 2, 3, 4, 5)],
    case("AutoAugment", "svhn", "bilinear", 5.0),
    case("FiveCrop", 5), case("TenCrop", [4, 6], True),
    case("MixUp", alpha=0.7, num_classes=4, shape=(5, 3, 6, 7), dtype=F32), case("MixUp", num_classes=4, shape=(5, 3, 6, 7), dtype=F32, seed=2),
    *[case("CutMix", alpha=1.0, num_classes=4, shape=(5, 3, 6, 7), dtype=F32, seed=s) for s in (1, 2)],
    case("make_grid", 2, 1, shape=(5, 3, 4, 6), dtype=F32), case("make_grid", shape=(3, 1, 4, 6), pad_value=0.5, dtype=F32),
    case("make_grid", normalize=True, scale_each=True, shape=(3, 3, 4, 6), dtype=F32),
    case("make_grid", nrow=3, normalize=True, value_range=[0.2, 0.7], shape=(4, 3, 4, 6), dtype=F32),
    case("functional.adjust_gamma", 0.6, 1.2), case("functional.adjust_gamma", 2.2, dtype=F32),
    case("functional.rotate", 30.0, expand=True), case("functional.affine", 10.0, [1, 2], 1.2, [3.0, 4.0]),
    case("functional.crop", -2, 3, 9, 12), case("functional.gaussian_blur", 5), case("functional.hflip"), case("functional.vflip"),
    case("functional.resized_crop", 1, 2, 6, 5, [8, 7]), case("functional.adjust_hue", -0.4, dtype=F32),
]


def value(name, v):
    if name == "dtype" or (isinstance(v, str) and hasattr(torch, v) and v in ("float32", "int32", "uint8", "int16")):
        return getattr(torch, v)
    return v


def run(c):
    x = image(c["shape"], c["dtype"], c["seed"])
    args = [value("", a) for a in c["args"]]
    kwargs = dict(c["kwargs"])
    name = c["call"]
    if name in ("AutoAugment",):
        args[0] = T.AutoAugmentPolicy(args[0])
    modes = {m.value: m for m in T.InterpolationMode}
    args = [modes.get(a, a) if isinstance(a, str) else a for a in args]
    kwargs = {k: modes.get(v, v) if isinstance(v, str) else v for k, v in kwargs.items()}
    if name == "ToTensor":
        return T.ToTensor()(x.permute(1, 2, 0).numpy())
    if name == "make_grid":
        if "value_range" in kwargs:
            kwargs["value_range"] = tuple(kwargs["value_range"])
        return make_grid(x, *args, **kwargs)
    if name.startswith("functional."):
        return getattr(v2.functional if "resize" in name else F, name.split(".")[1])(x, *args, **kwargs)
    if name in ("MixUp", "CutMix"):
        return getattr(v2, name)(*args, **kwargs)(x, torch.arange(c["shape"][0]) % 4)
    # Of the two versions of torchvision's transforms, the second resizes bytes by the kernels for bytes.
    bytes_too = name in ("Resize", "RandomResizedCrop") and c["dtype"] == U8
    return getattr(v2 if bytes_too else T, name)(*args, **kwargs)(x)


def packed(t):
    t = t.contiguous()
    data = base64.b64encode(t.view(torch.uint8).numpy().tobytes() if t.numel() else b"").decode()
    return dict(dtype=str(t.dtype)[6:], shape=list(t.shape), data=data)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "transforms.jsonl"), "w") as out:
        for c in CASES:
            result = run(c)
            results = list(result) if isinstance(result, (tuple, list)) else [result]
            out.write(json.dumps({**c, "out": [packed(t) for t in results], "after": torch.rand(1).item()}) + "\n")


if __name__ == "__main__":
    main()
