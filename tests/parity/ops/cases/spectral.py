"""Fourier transforms."""

from dsl import F, case

case("real", "fft.fft", F(3, 8))
case("complex", "fft.fft", F(3, 8, dtype="complex64"))
case("n, ortho", "fft.fft", F(3, 8, dtype="complex64"), 10, 1, "ortho")
case("", "fft.ifft", F(3, 8, dtype="complex64"))
case("", "fft.rfft", F(3, 9))
case("", "fft.irfft", F(3, 5, dtype="complex64"), 9)
case("", "fft.fft2", F(4, 6))
case("", "fft.rfftn", F(2, 4, 6))
case("float64", "fft.rfft", F(3, 12, dtype="float64"))
case("", "fft.fftshift", F(7))
case("", "fft.fftfreq", 8, 0.5)
case("", "fft.hfft", F(3, 5, dtype="complex64"))
case("", "stft", F(40), 16, 4, 16, F(16, grad=False), False, True, True)
