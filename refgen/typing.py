"""Names for the arrays that travel through refgen."""

from typing import Any, TypeAlias, Union

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Params: TypeAlias = dict[str, Union[Array, "Params"]]
Grads: TypeAlias = Params
Cache: TypeAlias = Any  # what a forward hands to its backward; each page names its own
