"""Build the artefact llama.cpp loads: safetensors shards of a DeepSeek-V2/V3 checkpoint into one GGUF file.

    python -m gguf_build --weights DIR --out FINAL_DIR --precision q8_0 \\
        --key KEY --weights-digest DIGEST --hardware HARDWARE

Runs in the runtime's venv (Python 3.10+, numpy and gguf). Prints one JSON object; see `__main__`.
"""

BUILDER = "gguf_build"
VERSION = "1"  # raised whenever the same weights would give other bytes: it is part of the build's key
