"""One module per family; importing the package registers every case."""

from . import convolution, creation, dtypes, foreach, indexing, in_place, linear_algebra, losses  # noqa: F401
from . import normalization, pointwise, random, reductions, shape, sorting, spectral  # noqa: F401
