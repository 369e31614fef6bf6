/** Data sets, from their original files; nothing is downloaded: `datasets`. */
export { defaultLoader, ImageFolder, IMG_EXTENSIONS, type ImageFolderArguments } from "./folder.js";
export { FashionMNIST, KMNIST, MNIST, type TrainArguments } from "./mnist.js";
export { CIFAR10, CIFAR100 } from "./cifar.js";
export { readCsv, readParquet, Table, type CsvArguments, type ParquetArguments, type TableArguments } from "./table.js";
export type { Sample, VisionArguments } from "./vision.js";
