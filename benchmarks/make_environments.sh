#!/bin/sh
# Make the virtual environments of the peers below a folder (about 5 GB):
#
#     benchmarks/make_environments.sh FOLDER
#
#   FOLDER/peers           clinfit, TRL, Transformers Trainer, lm-evaluation-harness
#   FOLDER/llama-factory   LLaMA-Factory, which asks for older versions of the same packages
#
# Both have the same torch, so that rows differ by what the tools do with it. PIP_OPTIONS may name where a CPU build of
# torch comes from, if pip's own configuration does not.
set -eu
folder=$1
here=$(cd "$(dirname "$0")/.." && pwd)
torch="torch==2.13.0"
options=${PIP_OPTIONS:-}

python3 -m venv "$folder/peers"
"$folder/peers/bin/pip" install "$torch" $options
"$folder/peers/bin/pip" install -e "$here" "$torch" trl==1.16.0 "lm-eval[hf]==0.4.13" transformers==5.23.0

python3 -m venv "$folder/llama-factory"
"$folder/llama-factory/bin/pip" install llamafactory==0.9.5
# Its image and audio packages bring another torch, and are not used for text.
"$folder/llama-factory/bin/pip" uninstall -y torchvision torchaudio torch
"$folder/llama-factory/bin/pip" install "$torch" $options

echo "now: benchmarks/run.py with --python $folder/peers/bin/python" \
    "--llama-factory-python $folder/llama-factory/bin/python"
