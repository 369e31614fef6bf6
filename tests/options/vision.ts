/** Exports of @nbit/vision that take no options beside their arguments. By what comes before the names. */
export const VISION: Readonly<Record<string, string>> = {
  "vision.datasets.": "CIFAR10 CIFAR100 FashionMNIST ImageFolder KMNIST MNIST Table defaultLoader readCsv readParquet",
  "vision.datasets.ImageFolder#": "get",
  "vision.datasets.MNIST#": "get",
  "vision.datasets.Table#": "get",
  "vision.io.": "decodeImage encodeJpeg encodePng readFile readImage writeFile writeJpeg writePng",
  "vision.transforms.":
    "AutoAugment CenterCrop ColorJitter Compose ConvertImageDtype CutMix FiveCrop GaussianBlur Grayscale " +
    "Lambda MixUp Normalize PILToTensor Pad RandAugment RandomAdjustSharpness RandomAffine RandomApply " +
    "RandomAutocontrast RandomChoice RandomCrop RandomCrop.getParams RandomEqualize RandomErasing " +
    "RandomGrayscale RandomHorizontalFlip RandomInvert RandomOrder RandomPosterize RandomResizedCrop " +
    "RandomResizedCrop.getParams RandomRotation RandomRotation.getParams RandomSolarize " +
    "RandomVerticalFlip Resize TenCrop ToTensor Transform TrivialAugmentWide",
  "vision.transforms.functional.":
    "adjustBrightness adjustContrast adjustGamma adjustHue adjustSaturation adjustSharpness affine " +
    "autocontrast centerCrop convertImageDtype crop elasticTransform equalize erase fiveCrop gaussianBlur " +
    "getDimensions getImageNumChannels getImageSize hflip invert normalize pad posterize resize " +
    "resizedCrop rgbToGrayscale rotate solarize tenCrop vflip",
  "vision.utils.": "makeGrid saveImage",
};
/** Classes whose forward takes one image. */
const FORWARDS =
  "AutoAugment CenterCrop ColorJitter Compose ConvertImageDtype FiveCrop GaussianBlur Grayscale Lambda " +
  "Normalize PILToTensor Pad RandAugment RandomAdjustSharpness RandomAffine RandomApply " +
  "RandomAutocontrast RandomChoice RandomCrop RandomEqualize RandomErasing RandomGrayscale " +
  "RandomHorizontalFlip RandomInvert RandomOrder RandomPosterize RandomResizedCrop RandomRotation " +
  "RandomSolarize RandomVerticalFlip Resize TenCrop ToTensor TrivialAugmentWide";
export const VISION_FORWARDS: readonly string[] = FORWARDS.split(" ").map(
  (name) => `vision.transforms.${name}#forward`,
);
