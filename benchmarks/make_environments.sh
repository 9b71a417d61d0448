#!/bin/sh
# Make the virtual environments of the peers below a folder (about 5 GB):
#
#     benchmarks/make_environments.sh FOLDER
#
#   FOLDER/peers           clinfit, TRL, Transformers Trainer, lm-evaluation-harness, LitServe
#   FOLDER/llama-factory   LLaMA-Factory, which asks for older versions of the same packages
#   FOLDER/infinity        infinity, which asks for an older Transformers
#
# All have the same torch, so that rows differ by what the tools do with it. PIP_OPTIONS may name where a CPU build of
# torch comes from, if pip's own configuration does not.
set -eu
folder=$1
here=$(cd "$(dirname "$0")/.." && pwd)
torch="torch==2.13.0"
options=${PIP_OPTIONS:-}

python3 -m venv "$folder/peers"
"$folder/peers/bin/pip" install "$torch" $options
"$folder/peers/bin/pip" install -e "$here[serve,minilm,openvino,onnx]" "$torch" trl==1.16.0 "lm-eval[hf]==0.4.13" \
    transformers==5.23.0 litserve==0.2.19

python3 -m venv "$folder/llama-factory"
"$folder/llama-factory/bin/pip" install llamafactory==0.9.5
# Its image and audio packages bring another torch, and are not used for text.
"$folder/llama-factory/bin/pip" uninstall -y torchvision torchaudio torch
"$folder/llama-factory/bin/pip" install "$torch" $options

python3 -m venv "$folder/infinity"
"$folder/infinity/bin/pip" install "$torch" $options
"$folder/infinity/bin/pip" install "infinity-emb[torch,server]==0.0.78" transformers==4.57.6 "$torch"

echo "now: benchmarks/run.py with --python $folder/peers/bin/python" \
    "--llama-factory-python $folder/llama-factory/bin/python"
