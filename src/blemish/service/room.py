"""A full disk of temporary files, where forms and entries of archives lie while they are read."""

from __future__ import annotations

import errno

from blemish.errors import OutputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def lacking(cause: BaseException | None) -> OutputError | None:
    """The error to raise where room is what was lacking; None where it was something else.

    >>> lacking(OSError(errno.ENOENT, "No such file")), lacking(None)
    (None, None)
    """
    if not (isinstance(cause, OSError) and cause.errno in _FULL):
        return None
    return OutputError(
        f"The station has no room for temporary files: {cause.strerror or cause}. Nothing was kept "
        "of this request. Make room in the folder that TMPDIR names, or send fewer files at a "
        "time, and send it again."
    )
