"""A strict duck array: it dispatches as cupy.ndarray does, and refuses silent conversion."""

import numpy as np


class Duck(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of another library: NumPy functions reach it, NumPy arrays do not mix with it."""

    def __init__(self, a):
        self.a = np.asarray(a)

    shape = property(lambda self: self.a.shape)
    ndim = property(lambda self: self.a.ndim)
    dtype = property(lambda self: self.a.dtype)
    size = property(lambda self: self.a.size)
    real = property(lambda self: Duck(self.a.real))

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to a NumPy array")

    def __bool__(self):
        raise TypeError("a look at a device array: a crossing")

    def __len__(self):
        return len(self.a)

    def reshape(self, *shape):
        return Duck(self.a.reshape(*shape))

    def __getitem__(self, index):
        return Duck(self.a[undress(index)])

    def astype(self, dtype):
        return Duck(self.a.astype(dtype))

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if any(isinstance(x, np.ndarray) and x.ndim > 0 for x in inputs):
            raise TypeError(f"mixing host and device arrays in {ufunc.__name__}")
        return Duck(getattr(ufunc, method)(*map(undress, inputs), **kwargs))

    def __array_function__(self, function, types, args, kwargs):
        if function is not np.asarray and any(isinstance(x, np.ndarray) for x in args):
            raise TypeError(f"mixing host and device arrays in {function.__name__}")
        kwargs = {k: undress(v) for k, v in kwargs.items()}
        result = function(*map(undress, args), **kwargs)
        return dress(result)


def dress(x):
    """Return an array, or a list of arrays as np.split makes, as ducks."""
    if isinstance(x, list):
        return [dress(y) for y in x]
    return Duck(x) if isinstance(x, np.ndarray | np.generic) else x


def undress(x):
    """Return what a duck, or a list of ducks, holds."""
    if isinstance(x, list | tuple):
        return type(x)(map(undress, x))
    return x.a if isinstance(x, Duck) else x
