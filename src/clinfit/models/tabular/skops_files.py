"""skops, imported without PyTorch.

skops looks for estimators in every module of scikit-learn, among them one that does nothing but import PyTorch where it
is installed. A model without a network need not wait for that.
"""

import sys

_IMPORTS_TORCH = "sklearn.externals.array_api_compat.torch"

if _IMPORTS_TORCH in sys.modules:
    from skops.io import dump, load
else:
    sys.modules[_IMPORTS_TORCH] = None  # type: ignore[assignment]  # what None stands for cannot be imported
    try:
        from skops.io import dump, load
    finally:
        del sys.modules[_IMPORTS_TORCH]
from skops.io.exceptions import UntrustedTypesFoundException  # noqa: E402 - behind what it belongs to

__all__ = ["UntrustedTypesFoundException", "dump", "load"]
