"""clinfit's service beside FastAPI with Transformers, LitServe and infinity: one encoder, one machine, in turns.

    python benchmarks/serving.py --work FOLDER --data MIRROR [--seconds 12] [--open-minutes 5]
        [--litserve-python VENV/bin/python] [--infinity-python VENV/bin/python]

It trains clinfit/minilm a little, so that all rows answer with the same weights, and merges them for the peers. Each
server gets 200 real abstracts of 200 words: first one after the other, to compare probabilities with FastAPI's, which
is fp32; then closed loops of 1, 8 and 32 clients; then, for the rows of --open, an open loop at 80 % of what it
answered at most. Prints tables, and appends what it measured to FOLDER/serving.jsonl. The load generator uses the cores
of the servers, and processor time a request is told beside the rate, since others may use the machine as well.
"""

import argparse
import asyncio
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import Loaded, Request, all_answers, closed, opened
from workload import SEED, read_abstracts

HERE = Path(__file__).parent
WORDS, TEXTS = 200, 200  # texts that the model was not taught
CLIENTS = (1, 8, 32)
#: Share of the highest rate in a closed loop at which the open loop asks.
SHARE = 0.8
#: clinfit's error where it is the engine that is at fault, and not a port, a pack or an option.
REFUSAL = re.compile(r"^clinfit: [^:\n]+: engine ", re.MULTILINE)
LABELS = ["Non-Cancer", "Cancer"]
STUDY = {
    "name": "serving",
    "tasks": {
        "cancer": {
            "labels": LABELS,
            "positive": LABELS[1],
            "data": {
                "path": "abstracts.csv",
                "id": "id",
                "inputs": {"text": "text"},
                "label": {"column": "label", "map": {"0": LABELS[0], "1": LABELS[1]}},
                "split": {"train": 0.6, "validation": 0.2, "test": 0.2, "stratify": True, "seed": SEED},
            },
        }
    },
    "models": [
        {
            "name": "minilm",
            "family": "encoder",
            "base": "clinfit/minilm",
            "train": {
                "epochs": 1,
                "learning_rate": 2e-3,
                "batch_size": 16,
                "max_length": 512,
                "shorten": "end",  # as the peers do
                "precision": "fp32",
            },
        }
    ],
    "evaluation": {"bootstrap": 100},
}

Record = dict[str, Any]


# ------------------------------------------------------------ what is served


def prepare(work: Path, data: Path) -> tuple[Path, Path, list[str]]:
    """The pack, the same weights as a checkpoint of Transformers, and the texts that are asked."""
    folder = work / "serving"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row | {"text": f"{row['title']} {row['abstract']}".split()} for row in read_abstracts(data)]
    long = [row | {"text": " ".join(row["text"][:WORDS])} for row in rows if len(row["text"]) >= WORDS]
    asked, taught = long[:TEXTS], long[TEXTS:]
    with (folder / "abstracts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        writer.writerows([row["pmid"], row["text"], row["label"]] for row in taught)
    (folder / "study.yaml").write_text(json.dumps(STUDY))  # JSON is YAML
    pack, checkpoint = folder / "run/models/minilm-seed42/pack", folder / "checkpoint"
    if not pack.is_dir():
        import clinfit

        clinfit.run(folder / "study.yaml", out=folder / "run")
    if not checkpoint.is_dir():
        write_checkpoint(pack, checkpoint)
    return pack, checkpoint, [row["text"] for row in asked]


def write_checkpoint(pack: Path, folder: Path) -> None:
    from clinfit.models.encoder import EncoderModel
    from clinfit.packs.read import load_pack

    model = load_pack(pack).model
    assert isinstance(model, EncoderModel)
    (part,) = model.parts()
    merged = part.merged()
    merged.config.id2label = dict(enumerate(LABELS))
    merged.config.label2id = {label: k for k, label in enumerate(LABELS)}
    merged.save_pretrained(folder)
    part.tokenizer.model_max_length = model.spec.train.max_length
    part.tokenizer.save_pretrained(folder)


# ------------------------------------------------------------ the rows


@dataclass(frozen=True)
class Server:
    """command: with PORT where the port stands. ready: path that answers 200 when it is. path: that is asked.
    probability: of the second label, from an answer."""

    command: tuple[str, ...]
    ready: str
    path: str
    body: Callable[[str], Record]
    probability: Callable[[Any], float]


def ours(pack: Path, work: Path, engine: str) -> Server:
    words = ("-m", "clinfit", "serve", str(pack), "--port", "PORT", "--jobs", str(work / "serving" / "jobs.sqlite"))
    return Server(
        (sys.executable, *words, "--engine", engine, "--engine-change", "0.01"),
        "/ready",
        "/v1/classify",
        lambda text: {"input": text},
        lambda answer: answer["data"][0]["probs"][1],
    )


def peer(python: Path, script: str, checkpoint: Path, threads: int) -> Server:
    return Server(
        (str(python), str(HERE / "peers" / script), str(checkpoint), "PORT", str(threads)),
        "/health",
        "/predict",
        lambda text: {"text": text},
        lambda answer: answer["probabilities"][1],
    )


def infinity(python: Path, checkpoint: Path) -> Server:
    words = ("v2", "--model-id", str(checkpoint), "--served-model-name", "m", "--device", "cpu", "--engine", "torch")
    words += ("--no-bettertransformer", "--no-model-warmup", "--batch-size", "32", "--port", "PORT")
    code = "import sys; from infinity_emb.cli import cli; sys.argv[0] = 'infinity_emb'; cli()"

    def probability(answer: Any) -> float:
        return next(entry["score"] for entry in answer["data"][0] if entry["label"] == LABELS[1])

    return Server(
        (str(python), "-c", code, *words),
        "/health",
        "/classify",
        lambda text: {"model": "m", "input": [text]},
        probability,
    )


def servers(pack: Path, checkpoint: Path, options: argparse.Namespace) -> dict[str, Server]:
    threads = options.threads
    found = {
        "fastapi": peer(Path(sys.executable), "serve_fastapi.py", checkpoint, threads),
        "clinfit": ours(pack, options.work, "torch"),
        **{f"clinfit_{name}": ours(pack, options.work, name) for name in ("auto", "openvino", "onnx", "onnx-int8")},
    }
    if options.litserve_python is not None:
        found["litserve"] = peer(options.litserve_python, "serve_litserve.py", checkpoint, threads)
    if options.infinity_python is not None:
        found["infinity"] = infinity(options.infinity_python, checkpoint)
    return found


# ------------------------------------------------------------ measuring


@dataclass(frozen=True)
class Tree:
    """A process and those that it started (Linux)."""

    pid: int

    def pids(self) -> list[int]:
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, task.read_text().split())
        return found

    def seconds(self) -> float:
        """Processor time so far."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> int:
        """Of all of them, pages that they share counted once."""
        kib = 0
        for pid in self.pids():
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return round(kib / 1024)


@contextmanager
def running(server: Server, port: int, options: argparse.Namespace) -> Iterator[Tree]:
    """The server, once it is ready."""
    command = [word.replace("PORT", str(port)) if word == "PORT" else word for word in server.command]
    surroundings = os.environ | {
        "OMP_NUM_THREADS": str(options.threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
    }
    with (options.work / "serving" / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=surroundings, cwd=options.work, start_new_session=True
        )
        try:
            wait_until_ready(process, f"http://127.0.0.1:{port}{server.ready}", Path(log.name))
            yield Tree(process.pid)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


class Refused(Exception):
    """A row whose engine clinfit refuses at the start: it is not near enough, not installed, or cannot compute it."""


def wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    for _ in range(1200):
        if (code := process.poll()) is not None:
            said = log.read_text()
            error = Refused if code == 2 and REFUSAL.search(said) else RuntimeError
            raise error(f"the server ended with {code}: {said[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the server is not ready after two minutes: {log.read_text()[-2000:]}")


def measure(name: str, server: Server, texts: Sequence[str], port: int, options: argparse.Namespace) -> Record:
    """One server through all loads."""
    requests: list[Request] = [(server.path, json.dumps(server.body(text)).encode()) for text in texts]
    began = time.perf_counter()
    with running(server, port, options) as tree:
        record: Record = {"row": name, "start_seconds": round(time.perf_counter() - began, 1), "closed": {}}
        answers = asyncio.run(all_answers(port, requests))
        record["probabilities"] = [server.probability(answer) for answer in answers]
        record["engine"] = answers[0].get("engine", "torch") if isinstance(answers[0], dict) else "torch"
        for clients in CLIENTS:
            record["closed"][clients] = told(tree, lambda n=clients: closed(port, requests, n, options.seconds))
        if name in options.open:
            rate = SHARE * max(one["rate"] for one in record["closed"].values())
            seconds = 60 * options.open_minutes
            record["open"] = told(tree, lambda: opened(port, requests, rate, seconds)) | {"asked": round(rate, 2)}
        record["memory_mb"] = tree.memory_mb()
    return record


def told(tree: Tree, work: Callable[[], Any]) -> Record:
    """What a load found."""
    before = tree.seconds()
    loaded: Loaded = asyncio.run(work())
    return {
        "requests": len(loaded.latencies),
        "errors": loaded.errors,
        "rate": round(loaded.rate, 2),
        "cpu_ms": round(1000 * (tree.seconds() - before) / len(loaded.latencies), 2),
        **{f"p{round(100 * share)}": round(loaded.quantile(share), 1) for share in (0.5, 0.95, 0.99)},
    }


# ------------------------------------------------------------ the tables


def tables(records: Sequence[Record]) -> str:
    """What was measured, and each row beside FastAPI."""
    plain = next((record for record in records if record["row"] == "fastapi"), None)
    lines = [
        "| row | engine | " + " | ".join(f"{n} clients: req/s, p99 ms, CPU ms" for n in CLIENTS) + " | memory MB |",
        "|---|---|" + "---|" * len(CLIENTS) + "---|",
    ]
    for record in records:
        cells = [f"{one['rate']}, {one['p99']}, {one['cpu_ms']}" for one in record["closed"].values()]
        lines.append(f"| {record['row']} | {record['engine']} | {' | '.join(cells)} | {record['memory_mb']} |")
    if plain is not None:
        lines += ["", "| row beside fastapi | req/s | CPU | p99 at 8 | memory | largest change | flips |"]
        lines.append("|---|---|---|---|---|---|---|")
        lines += [beside(record, plain) for record in records if record is not plain]
    for record in records:
        if "open" in record:
            one = record["open"]
            lines.append(
                f"\n{record['row']}, open loop at {one['asked']} requests a second: {one['requests']} requests, "
                f"{one['errors']} errors, p50 {one['p50']} ms, p99 {one['p99']} ms"
            )
    return "\n".join(lines)


def beside(record: Record, plain: Record) -> str:
    """A row's rates at 1, 8 and 32 clients over FastAPI's, processor time under it, and how far its answers are off."""
    pairs = list(zip(record["closed"].values(), plain["closed"].values(), strict=True))
    rates = " / ".join(f"{own['rate'] / other['rate']:.2f}" for own, other in pairs)
    processor = " / ".join(f"{other['cpu_ms'] / own['cpu_ms']:.2f}" for own, other in pairs)
    p99 = pairs[1][0]["p99"] / pairs[1][1]["p99"]
    both = list(zip(record["probabilities"], plain["probabilities"], strict=True))
    change, flips = max(abs(a - b) for a, b in both), sum((a >= 0.5) != (b >= 0.5) for a, b in both)
    memory = record["memory_mb"] / plain["memory_mb"]
    return f"| {record['row']} | {rates} | {processor} | {p99:.2f} | {memory:.2f} | {change:.2g} | {flips} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=os.environ.get("CLINFIT_DATA"), help="default: CLINFIT_DATA")
    parser.add_argument("--rows", nargs="+", help="default: all")
    parser.add_argument("--seconds", type=float, default=12, help="of each closed loop")
    parser.add_argument("--open", nargs="*", default=["clinfit_auto"], help="rows that get an open loop as well")
    parser.add_argument("--open-minutes", type=float, default=5)
    parser.add_argument("--texts", type=int, default=200, help="abstracts that are asked")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--litserve-python", type=Path)
    parser.add_argument("--infinity-python", type=Path)
    options = parser.parse_args()
    if options.data is None:
        parser.error("name the mirror of the public sets: --data, or the setting CLINFIT_DATA")
    options.work = options.work.resolve()
    pack, checkpoint, texts = prepare(options.work, Path(options.data))
    records, refused = [], []
    for k, (name, server) in enumerate(servers(pack, checkpoint, options).items()):
        if options.rows and name not in options.rows:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            records.append(measure(name, server, texts[: options.texts], options.port + k, options))
        except Refused as error:
            if name == "clinfit_auto" or not name.startswith("clinfit_"):
                raise
            refused.append(f"{name} is left out: {error}")
            print(refused[-1], file=sys.stderr)
            continue
        with (options.work / "serving.jsonl").open("a") as file:
            file.write(json.dumps(records[-1]) + "\n")
    print(tables(records), *refused, sep="\n\n")


if __name__ == "__main__":
    main()
