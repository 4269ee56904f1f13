"""What loading raises: one error that says which file, which part, why, and how to mend it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LoadError(ValueError):
    """Data that cannot be used. The message is one paragraph, `file[member]: reason. remedy`.

    >>> print(LoadError("a.npz", "data", "it holds pickled objects", "Save plain numbers."))
    a.npz[data]: it holds pickled objects. Save plain numbers.
    """

    def __init__(self, file: str | Path, member: str, reason: str, remedy: str) -> None:
        super().__init__(str(file), member, reason, remedy)
        self.file = str(file)  # a path, or the name of a data set
        self.member = member  # an array of an archive, a column or line of a table; "" for none
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        part = f"[{self.member}]" if self.member else ""
        return f"{self.file}{part}: {self.reason}. {self.remedy}"


class NotInstalledError(LoadError):
    """The data, or the package that reads them, is not on this machine."""


@contextmanager
def decoding(file: Path, member: str = "") -> Iterator[None]:
    """Turn whatever a decoder says of damaged bytes into a LoadError.

    zipfile, gzip, csv, Pillow and NumPy's header parser fail in more ways than they document, so
    every exception is caught; the original stays attached as the cause.
    """
    try:
        yield
    except LoadError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".") or "no more is known"
        reason = f"it cannot be read ({type(error).__name__}: {said})"
        remedy = "Fetch or write the file again, and check that it may be read."
        raise LoadError(file, member, reason, remedy) from error
