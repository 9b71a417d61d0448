"""Atomic writes, hashes and the lock of a run folder, against disks that really refuse."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.parquet import read_schema

import clinfit
from clinfit.errors import ClinfitError
from clinfit.files import (
    DiskError,
    disk_errors,
    hash_files,
    hash_folder,
    hash_json,
    new_folder,
    present,
    read_json,
    remove_leftovers,
    write_json,
    write_parquet,
    write_text,
)
from clinfit.locks import locked
from clinfit.machine import this_host
from clinfit.runs.folder import RunFolder, existing_run


def test_a_table_says_which_version_wrote_it(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["a", None], "n": [1, 2]}, index=[7, 9])
    write_parquet(tmp_path / "t.parquet", table)
    assert read_schema(tmp_path / "t.parquet").metadata[b"clinfit"] == clinfit.__version__.encode()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table.reset_index(drop=True))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_layout_is_the_documented_one(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    model = run.model("tfidf", 42)
    assert (
        model.predictions("cancer", "test", 1)
        == tmp_path / "models/tfidf-seed42/predictions/cancer-test-stage1.parquet"
    )
    assert model.model(1).parent == model.stage(1) == tmp_path / "models/tfidf-seed42/stages/1"
    assert run.data("cancer") == tmp_path / "data/cancer.json"


def test_writes_leave_nothing_but_the_file(tmp_path: Path) -> None:
    write_text(tmp_path / "deep/er/a.txt", "é")
    write_json(tmp_path / "b.json", {"x": 1})
    write_parquet(tmp_path / "c.parquet", pd.DataFrame({"p": [0.1 + 0.2]}))
    assert names(tmp_path) == ["b.json", "c.parquet", "deep", "deep/er", "deep/er/a.txt"]
    assert read_json(tmp_path / "b.json") == {"x": 1}
    assert pd.read_parquet(tmp_path / "c.parquet")["p"][0] == 0.1 + 0.2


def test_json_with_nan_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert read_json(tmp_path / "a.json") == {"x": 1}


def test_new_folder_replaces_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with new_folder(target) as folder:
        (folder / "a").write_text("first")
    with pytest.raises(RuntimeError), new_folder(target) as folder:
        (folder / "a").write_text("half")
        raise RuntimeError
    assert (target / "a").read_text() == "first"
    with new_folder(target) as folder:
        (folder / "b").write_text("second")
    assert names(tmp_path) == ["model", "model/b"]


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="a file stands where a folder is needed"):
        write_text(tmp_path / "file" / "below" / "a.txt", "x")
    with pytest.raises(DiskError, match="cannot write"), locked(tmp_path / "file"):
        pass


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, in which not even root can make a folder")
def test_a_place_where_no_folder_can_be_made() -> None:
    for path in (Path("/proc/none/a.txt"), Path("/proc/a.txt")):
        with pytest.raises(DiskError, match="no folder can be made there"):
            write_text(path, "x")


def python(code: str, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", textwrap.dedent(code), *map(str, words)]
    return subprocess.run(program, capture_output=True, text=True, **options)  # type: ignore[call-overload]


def test_a_disk_that_takes_no_more_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk: the write starts and then fails."""
    write_text(tmp_path / "a.txt", "old")
    code = """
        import sys
        from pathlib import Path
        from clinfit.errors import ClinfitError
        from clinfit.files import write_text
        try:
            write_text(Path(sys.argv[1]), "x" * 100_000)
        except ClinfitError as error:
            print(error)
    """
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # noqa: E731
    done = python(code, tmp_path / "a.txt", preexec_fn=limit)
    assert "cannot write" in done.stdout and "larger than this system allows" in done.stdout
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"


def test_only_refusals_of_the_disk_become_disk_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "a") as folder:
        (folder / "not there").read_text()
    assert names(tmp_path) == []


def test_what_cannot_be_read_elsewhere_is_no_disk_error(tmp_path: Path) -> None:
    denied = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "base/model.safetensors"))
    with pytest.raises(PermissionError), disk_errors(tmp_path / "runs/small/12345678"):
        raise denied
    with pytest.raises(DiskError, match="permission is denied"), disk_errors(tmp_path / "base/model.safetensors"):
        raise denied
    with pytest.raises(DiskError, match="permission is denied"), disk_errors(tmp_path / "base/model.safetensors/run"):
        raise denied


def test_a_disk_that_refuses_safetensors(tmp_path: Path) -> None:
    code = """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from safetensors.numpy import save_file
        from clinfit.errors import ClinfitError
        from clinfit.files import new_folder
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            with new_folder(Path(sys.argv[1])) as folder:
                save_file({"a": np.zeros(10_000)}, folder / "model.safetensors")
        except ClinfitError as error:
            print(error)
    """
    done = python(code, tmp_path / "model")
    assert "cannot write" in done.stdout and "larger than this system allows" in done.stdout, done.stderr
    assert names(tmp_path) == []


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "kept.json", "{}")
    gone = f"tmp-{this_host()}-{dead_process()}"
    write_text(tmp_path / "a" / f".kept.json.{gone}", "half")
    write_text(tmp_path / f".model.{gone}" / "weights", "half")
    write_text(tmp_path / f".model.{gone}-old" / "weights", "old")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a", "a/kept.json"]


def test_a_folder_that_goes_while_it_is_read_is_no_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_text(tmp_path / name / "deep" / "file", "")
    found = present(tmp_path)
    seen = {next(found), next(found)}
    shutil.rmtree(tmp_path / "a")
    assert seen == {tmp_path / "a", tmp_path / "b"}
    assert set(found) == {tmp_path / "b/deep", tmp_path / "b/deep/file"}


def test_temporary_names_of_other_hosts_and_live_processes_stay(tmp_path: Path) -> None:
    """Hosts may share a disk: only their own processes can be asked whether they live."""
    kept = [f".weights.tmp-{this_host()}-{os.getpid()}", ".weights.tmp-00000000-1", ".notes.tmp-mine"]
    for name in kept:
        write_text(tmp_path / name, "half")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted(kept)


def dead_process() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


HOLD = """
    import sys, time
    from pathlib import Path
    from clinfit.locks import locked
    with locked(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
"""


def test_lock_keeps_others_out_until_its_process_dies(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(ClinfitError, match=f"another process .pid {holder.pid}."), locked(tmp_path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text().strip() == str(os.getpid())


def test_a_lock_that_waits_gets_its_turn(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    threading.Timer(0.5, holder.kill).start()
    with locked(tmp_path, wait=True):
        assert holder.wait() == -signal.SIGKILL


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_json_hash_ignores_key_order_and_survives_writing(value: dict[str, object]) -> None:
    assert hash_json(value) == hash_json(dict(reversed(value.items()))) == hash_json(json.loads(json.dumps(value)))


def test_folder_hash_sees_names_and_contents(tmp_path: Path) -> None:
    write_text(tmp_path / "a/x", "1")
    first = hash_folder(tmp_path)
    assert list(hash_files(tmp_path)) == ["a/x"]
    (tmp_path / "a/x").rename(tmp_path / "a/y")
    renamed = hash_folder(tmp_path)
    write_text(tmp_path / "a/y", "2")
    assert len({first, renamed, hash_folder(tmp_path)}) == 3


def test_what_is_no_run_is_named_with_the_runs_below_it(tmp_path: Path) -> None:
    write_text(tmp_path / "0a1b2c3d" / "study.yaml", "name: x")
    with pytest.raises(ClinfitError, match="0a1b2c3d"):
        existing_run(tmp_path)
    assert existing_run(tmp_path / "0a1b2c3d").path == tmp_path / "0a1b2c3d"


def test_damaged_json_is_the_users_to_see(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "{")
    with pytest.raises(ClinfitError, match="damaged"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ClinfitError, match="missing"):
        read_json(tmp_path / "b.json")
