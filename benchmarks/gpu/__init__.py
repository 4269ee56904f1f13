"""The benchmark on a GPU, and the whole run that proves the CUDA twins there."""
