"""The build: numbers arrive unchanged, damage is found, a build is made once, and failures leave nothing behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsdeploy.lab import model, safetensors
from dsdeploy.paths import ROLES

gguf = pytest.importorskip("gguf")
PROGRAM = ROLES / "engine" / "files" / "llamacpp"
sys.path.insert(0, str(PROGRAM))

from gguf_build import build, fp8, place, seal, settings, stream  # noqa: E402
from gguf_build.errors import BuildError  # noqa: E402

Shard = dict[str, np.ndarray]
SECOND = "model-00002-of-000003.safetensors"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published")
    model.write(out, 1)
    return out


@pytest.fixture
def weights(published: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(published, tmp_path / "weights"))


@pytest.fixture
def order(published: Path, tmp_path: Path) -> build.Order:
    return build.Order(published, tmp_path / "builds" / "k1", "f32", "k1", "sha256:w", "cpu", {})


def source(folder: Path) -> Shard:
    tensors: Shard = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= safetensors.read(path)
    return tensors


def reader(order: build.Order) -> Any:
    return gguf.GGUFReader(order.final / "model.gguf")


def written(order: build.Order) -> Shard:
    """Every tensor of the build as float32, slowest axis first."""
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1])
        for tensor in reader(order).tensors
    }


def record(order: build.Order) -> dict[str, Any]:
    return json.loads((order.final / "build.json").read_text())


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def reshard(folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Publish these tensors instead, in one shard."""
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    safetensors.write(folder / "model.safetensors", tensors)


# --- numbers -------------------------------------------------------------------------------------------------


def test_f32_is_the_source_exactly(order: build.Order, published: Path) -> None:
    assert build.run(order)["changed"] is True
    theirs, ours = source(published), written(order)
    for name, twin in {
        "token_embd.weight": "model.embed_tokens.weight",
        "output.weight": "lm_head.weight",
        "output_norm.weight": "model.norm.weight",
        "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
        "blk.1.attn_q_b.weight": "model.layers.1.self_attn.q_b_proj.weight",
        "blk.2.attn_kv_a_mqa.weight": "model.layers.2.self_attn.kv_a_proj_with_mqa.weight",
        "blk.2.ffn_up_shexp.weight": "model.layers.2.mlp.shared_experts.up_proj.weight",
        "blk.2.exp_probs_b.bias": "model.layers.2.mlp.gate.e_score_correction_bias",
    }.items():
        assert np.array_equal(ours[name], theirs[twin]), name
    for expert in range(8):
        twin = theirs[f"model.layers.1.mlp.experts.{expert}.gate_proj.weight"]
        assert np.array_equal(ours["blk.1.ffn_gate_exps.weight"][expert], twin)


def test_kv_b_is_split_by_head_and_the_keys_transposed(order: build.Order, published: Path) -> None:
    build.run(order)
    joint, ours = source(published)["model.layers.1.self_attn.kv_b_proj.weight"], written(order)
    for head in range(2):
        rows = joint[head * 256 : (head + 1) * 256]
        assert np.array_equal(ours["blk.1.attn_k_b.weight"][head], rows[:128].T)
        assert np.array_equal(ours["blk.1.attn_v_b.weight"][head], rows[128:])


def test_chunked_conversion_gives_the_same_file(order: build.Order, monkeypatch: pytest.MonkeyPatch) -> None:
    build.run(order)
    monkeypatch.setattr("gguf_build.tensors.CHUNK", 1000)
    small = replace(order, final=order.final.with_name("k2"))
    build.run(small)
    assert record(small)["files"][0]["sha256"] == record(order)["files"][0]["sha256"]


@pytest.mark.parametrize(("precision", "step"), [("f16", 1e-3), ("q8_0", 0.005), ("q4_0", 0.126)])
def test_precisions_round_within_their_step(order: build.Order, published: Path, precision: str, step: float) -> None:
    rough = replace(order, precision=precision)
    build.run(rough)
    twin = source(published)["model.layers.1.self_attn.o_proj.weight"]
    worst = np.abs(written(rough)["blk.1.attn_output.weight"] - twin).max()
    assert 0 < worst <= step * np.abs(twin).max()
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader(rough).tensors}
    assert kinds["blk.1.attn_output.weight"] == precision.upper()
    assert kinds["blk.1.ffn_gate_inp.weight"] == kinds["output_norm.weight"] == "F32"
    assert (
        kinds["output.weight"] == kinds["blk.0.attn_k_b.weight"] == {"q4_0": "Q8_0"}.get(precision, precision.upper())
    )


def to_fp8(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes, factors, and what they stand for; by blocks of 128 x 128, as published."""
    rows, columns = (-(-size // 128) for size in values.shape)
    stored, scales, meant = np.zeros(values.shape, np.uint8), np.zeros((rows, columns), np.float32), values * 0
    numbers = fp8.E4M3[:127]
    for row, column in np.ndindex(rows, columns):
        at = (slice(row * 128, row * 128 + 128), slice(column * 128, column * 128 + 128))
        scales[row, column] = scale = np.abs(values[at]).max() / 448
        nearest = np.abs(np.abs(values[at])[..., None] / scale - numbers).argmin(axis=-1)
        stored[at] = nearest + 128 * (values[at] < 0)
        meant[at] = numbers[nearest] * np.where(values[at] < 0, -1, 1) * scale
    return stored, scales, meant


def write_fp8(folder: Path, tensors: Mapping[str, np.ndarray], chosen: tuple[str, ...], factors: bool = True) -> Shard:
    """Publish the chosen matrices as FP8, everything else as F32; gives what the FP8 ones stand for."""
    header: dict[str, Any] = {}
    blob, meant = b"", {}
    for name, values in tensors.items():
        parts = {name: ("F32", values.astype("<f4"))}
        if name.endswith(chosen):
            stored, scales, meant[name] = to_fp8(values)
            parts = {name: ("F8_E4M3", stored)}
            if factors:
                parts[name + "_scale_inv"] = ("F32", scales)
        for part, (dtype, data) in parts.items():
            place_in = [len(blob), len(blob) + data.nbytes]
            header[part] = {"dtype": dtype, "shape": list(data.shape), "data_offsets": place_in}
            blob += data.tobytes()
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + blob)
    return meant


def test_fp8_values_are_the_formats() -> None:
    assert fp8.E4M3[[0x00, 0x01, 0x08, 0x38, 0x7E, 0xB8]].tolist() == [0, 2.0**-9, 2.0**-6, 1, 448, -1]
    assert np.isnan(fp8.E4M3[[0x7F, 0xFF]]).all()


def test_an_fp8_checkpoint_is_dequantised_by_block(
    order: build.Order, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meant = write_fp8(weights, source(weights), ("q_b_proj.weight", "kv_b_proj.weight", "mlp.down_proj.weight"))
    edit(weights / "config.json", quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]})
    monkeypatch.setattr("gguf_build.tensors.CHUNK", 64 * 100)  # chunks that end inside a block
    build.run(replace(order, weights=weights))
    ours = written(order)
    assert np.array_equal(ours["blk.1.attn_q_b.weight"], meant["model.layers.1.self_attn.q_b_proj.weight"])
    assert np.array_equal(ours["blk.0.ffn_down.weight"], meant["model.layers.0.mlp.down_proj.weight"])
    values = meant["model.layers.2.self_attn.kv_b_proj.weight"]
    assert np.array_equal(ours["blk.2.attn_k_b.weight"][1], values[256:384].T)


def test_fp8_without_its_factors_is_refused(order: build.Order, weights: Path) -> None:
    write_fp8(weights, source(weights), ("layers.1.self_attn.o_proj.weight",), factors=False)
    with pytest.raises(BuildError, match=r"lacks the tensor .*layers.1.self_attn.o_proj.weight_scale_inv"):
        build.run(replace(order, weights=weights))


# --- metadata ------------------------------------------------------------------------------------------------


def field(order: build.Order, name: str) -> Any:
    found = reader(order).get_field(name)
    return None if found is None else found.contents()


def test_metadata_says_what_the_engine_needs(order: build.Order) -> None:
    build.run(order)
    wanted = {
        "general.architecture": "deepseek2",
        "deepseek2.block_count": 3,
        "deepseek2.attention.head_count_kv": 1,
        "deepseek2.attention.kv_lora_rank": 512,
        "deepseek2.attention.key_length": 576,
        "deepseek2.attention.key_length_mla": 192,
        "deepseek2.expert_group_count": 4,
        "deepseek2.expert_group_used_count": 2,
        "deepseek2.expert_weights_scale": 2.5,
        "deepseek2.expert_gating_func": 2,
        "deepseek2.leading_dense_block_count": 1,
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.add_bos_token": True,
    }
    assert {name: field(order, name) for name in wanted} == wanted
    assert len(field(order, "tokenizer.ggml.tokens")) == 640
    assert field(order, "deepseek2.rope.scaling.type") is None


YARN = {
    "type": "yarn",
    "factor": 40,
    "original_max_position_embeddings": 4096,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}


def test_yarn_is_written(order: build.Order, weights: Path) -> None:
    edit(weights / "config.json", rope_scaling=YARN)
    build.run(replace(order, weights=weights))
    assert field(order, "deepseek2.rope.scaling.type") == "yarn"
    assert field(order, "deepseek2.rope.scaling.factor") == 40
    assert field(order, "deepseek2.rope.scaling.original_context_length") == 4096
    assert field(order, "deepseek2.rope.scaling.yarn_log_multiplier") == pytest.approx(0.1)


def test_v2_lite_has_no_query_compression(published: Path) -> None:
    config = json.loads((published / "config.json").read_text())
    lite = {"q_lora_rank": None, "scoring_func": "softmax", "topk_method": "greedy", "n_group": 1, "topk_group": 1}
    found = settings.read({**config, "architectures": ["DeepseekV2ForCausalLM"], **lite})
    assert found.q_lora_rank is None
    assert not found.sigmoid
    assert not found.corrected


def test_full_queries_are_built(order: build.Order, weights: Path) -> None:
    tensors = {name: values for name, values in source(weights).items() if ".q_a_" not in name}
    for layer in range(3):
        tensors.pop(f"model.layers.{layer}.self_attn.q_b_proj.weight")
        tensors[f"model.layers.{layer}.self_attn.q_proj.weight"] = np.ones((384, 128), np.float32)
    reshard(weights, tensors)
    edit(weights / "config.json", q_lora_rank=None)
    build.run(replace(order, weights=weights))
    assert written(order)["blk.2.attn_q.weight"].shape == (384, 128)
    assert field(order, "deepseek2.attention.q_lora_rank") is None


def test_prediction_layers_are_left_out_with_a_note(order: build.Order, weights: Path) -> None:
    reshard(weights, source(weights) | {"model.layers.3.eh_proj.weight": np.ones((4, 4), np.float32)})
    assert build.run(replace(order, weights=weights))["notes"] == [
        "left out 1 tensors of multi-token prediction: llama.cpp has no use for them"
    ]


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        (
            [{"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}"}}, {"type": "ByteLevel", "use_regex": False}],
            "deepseek-v3",
        ),
        (
            [
                {"type": "Split", "pattern": {"Regex": r"[\r\n]"}},
                {"type": "Split", "pattern": {"Regex": r"\s?\p{L}+"}},
                {"type": "ByteLevel", "use_regex": False},
            ],
            "deepseek-llm",
        ),
    ],
)
def test_real_deepseek_pretokenizers_are_known(order: build.Order, weights: Path, steps: list[Any], name: str) -> None:
    edit(weights / "tokenizer.json", pre_tokenizer={"type": "Sequence", "pretokenizers": steps})
    build.run(replace(order, weights=weights))
    assert field(order, "tokenizer.ggml.pre") == name


def test_an_unknown_pretokenizer_must_be_named(order: build.Order, weights: Path) -> None:
    edit(weights / "tokenizer.json", pre_tokenizer={"type": "Whitespace"})
    with pytest.raises(BuildError, match="cuts text"):
        build.run(replace(order, weights=weights))
    build.run(replace(order, weights=weights, flags={"tokenizer_pre": "qwen2"}))
    assert field(order, "tokenizer.ggml.pre") == "qwen2"


# --- once, and sound -----------------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(order: build.Order) -> None:
    first, before = build.run(order), record(order)
    again = build.run(order)
    assert (first["changed"], again["changed"]) == (True, False)
    assert record(order) == before
    assert sorted(path.name for path in order.final.parent.iterdir()) == ["k1"]


def test_the_record_has_all_that_the_contract_names(order: build.Order, published: Path) -> None:
    build.run(replace(order, precision="q8_0"))
    found = record(order)
    wanted = {"key": "k1", "weights_digest": "sha256:w", "builder": "gguf_build", "precision": "q8_0"}
    assert wanted.items() <= found.items()
    assert found["files"][0]["sha256"] == seal.sha256(order.final / "model.gguf")
    held = [e for e in json.loads((published / "known_answers.json").read_text()) if "q8_0" in e["precisions"]]
    assert [answer["prompt"] for answer in found["known_answers"]] == [entry["prompt"] for entry in held]
    assert set(found["known_answers"][0]) == {"prompt", "max_tokens", "answer"}


def test_a_touched_but_sound_file_is_kept_and_restamped(order: build.Order) -> None:
    build.run(order)
    os.utime(order.final / "model.gguf", ns=(1, 1))
    assert build.run(order)["changed"] is False
    assert record(order)["files"][0]["mtime_ns"] == 1


def flip(order: build.Order) -> None:
    with (order.final / "model.gguf").open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-100, os.SEEK_END)
        file.write(bytes([byte ^ 1]))


def forget(order: build.Order) -> None:
    (order.final / "build.json").unlink()


def cut(order: build.Order) -> None:
    os.truncate(order.final / "model.gguf", 5000)


def garble(order: build.Order) -> None:
    (order.final / "build.json").write_text('{"files": [')


def rekey(order: build.Order) -> None:
    edit(order.final / "build.json", key="k0")


@pytest.mark.parametrize("spoil", [flip, forget, cut, garble, rekey])
def test_damage_is_set_aside_and_built_anew(order: build.Order, spoil: Callable[[build.Order], None]) -> None:
    build.run(order)
    good = seal.sha256(order.final / "model.gguf")
    for number in (1, 2):
        spoil(order)
        result = build.run(order)
        assert result["changed"] is True
        assert result["damaged"] == f"{order.final}.damaged-{number}"
        assert seal.sha256(order.final / "model.gguf") == good
    assert sorted(path.name for path in order.final.parent.iterdir()) == ["k1", "k1.damaged-2"]


def test_deep_finds_what_a_stamp_hides(order: build.Order) -> None:
    build.run(order)
    flip(order)
    found = record(order)
    found["files"][0] |= seal.stamp(order.final / "model.gguf")
    (order.final / "build.json").write_text(json.dumps(found))
    assert build.run(order)["changed"] is False
    assert "SHA-256" in build.run(replace(order, deep=True))["reason"]


def test_a_killed_builds_leavings_are_cleared(order: build.Order) -> None:
    partial = place.partial(order.final)
    (partial / "sub").mkdir(parents=True)
    (partial / "model.gguf").write_bytes(b"half")
    build.run(order)
    assert sorted(path.name for path in order.final.iterdir()) == ["build.json", "model.gguf"]
    assert not partial.exists()


def test_modes_do_not_depend_on_the_callers_umask(order: build.Order) -> None:
    before = os.umask(0o077)
    try:
        build.run(order)
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (order.final, *sorted(order.final.iterdir()))]
    assert modes == [0o755, 0o644, 0o644]


# --- failures ------------------------------------------------------------------------------------------------


def missing_tensor(folder: Path) -> None:
    tensors = source(folder)
    del tensors["model.layers.1.mlp.experts.5.up_proj.weight"]
    reshard(folder, tensors)


def extra_tensor(folder: Path) -> None:
    reshard(folder, source(folder) | {"model.layers.1.self_attn.q_a_proj.bias": np.ones(64, np.float32)})


def misshapen_tensor(folder: Path) -> None:
    reshard(folder, source(folder) | {"model.norm.weight": np.ones(127, np.float32)})


def not_finite(folder: Path) -> None:
    reshard(folder, source(folder) | {"model.norm.weight": np.full(128, np.nan, np.float32)})


def truncated(folder: Path) -> None:
    os.truncate(folder / SECOND, 500_000)


def truncated_in_its_header(folder: Path) -> None:
    os.truncate(folder / SECOND, 60)


def pointer(folder: Path) -> None:
    (folder / SECOND).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5234139343\n")


def gone(folder: Path) -> None:
    (folder / SECOND).unlink()


def outside(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace(SECOND, "../" + SECOND))


def foreign(folder: Path) -> None:
    edit(folder / "config.json", architectures=["LlamaForCausalLM"])


def other_mscale(folder: Path) -> None:
    edit(folder / "config.json", rope_scaling={**YARN, "mscale": 0.5})


def no_config(folder: Path) -> None:
    (folder / "config.json").write_text("<html>404</html>")


def lacking_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["kv_lora_rank"]
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (missing_tensor, "lacks the tensor model.layers.1.mlp.experts.5.up_proj.weight"),
        (extra_tensor, "no place in this architecture, first model.layers.1.self_attn.q_a_proj.bias"),
        (misshapen_tensor, r"model.norm.weight has shape \[127\]; by config.json it is \[128\]"),
        (not_finite, "model.norm.weight holds values that are not finite"),
        (truncated, "has 500000 bytes, its header says"),
        (truncated_in_its_header, "cut short in its header"),
        (pointer, "not a safetensors file"),
        (gone, "cannot read the shard: No such file"),
        (outside, "no plain file name"),
        (foreign, "unsupported architecture LlamaForCausalLM"),
        (other_mscale, "unsupported rope_scaling: mscale 0.5"),
        (no_config, "config.json is not JSON"),
        (lacking_config, "config.json lacks kv_lora_rank"),
    ],
)
def test_bad_weights_are_refused_and_leave_nothing(
    order: build.Order, weights: Path, spoil: Callable[[Path], None], says: str
) -> None:
    spoil(weights)
    with pytest.raises(BuildError, match=says):
        build.run(replace(order, weights=weights))
    assert list(order.final.parent.iterdir()) == []


def test_too_large_for_f16_says_what_would_do(order: build.Order, weights: Path) -> None:
    reshard(weights, source(weights) | {"lm_head.weight": np.full((640, 128), 1e6, np.float32)})
    with pytest.raises(BuildError, match="too large for f16") as caught:
        build.run(replace(order, weights=weights, precision="f16"))
    assert "q8_0" in caught.value.hint


def test_a_full_disk_is_foreseen(order: build.Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_free", lambda path: 1000)
    with pytest.raises(BuildError, match=r"the build takes 7\d{6} bytes, 1000 are free"):
        build.run(order)
    assert list(order.final.parent.iterdir()) == []


def test_a_disk_that_fills_up_leaves_the_old_build(order: build.Order, monkeypatch: pytest.MonkeyPatch) -> None:
    build.run(order)
    cut(order)

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stream, "tensors", full)
    with pytest.raises(BuildError, match="the disk is full: the build takes"):
        build.run(order)
    assert [path.name for path in order.final.parent.iterdir()] == ["k1"]


# --- the command ---------------------------------------------------------------------------------------------


def command(order: build.Order, *more: str) -> list[str]:
    given = ["--weights", str(order.weights), "--out", str(order.final), "--precision", order.precision]
    recorded = ["--key", order.key, "--weights-digest", order.weights_digest, "--hardware", order.hardware]
    return [sys.executable, "-m", "gguf_build", *given, *recorded, *more]


def start(order: build.Order, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(order, *more), cwd=PROGRAM, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_at_once_build_once(order: build.Order) -> None:
    running = [start(order), start(order)]
    results = [json.loads(one.communicate()[0]) for one in running]
    assert sorted(result["changed"] for result in results) == [False, True]
    assert [path.name for path in order.final.parent.iterdir()] == ["k1"]


def test_a_refusal_is_one_json_object_and_no_traceback(order: build.Order, weights: Path) -> None:
    truncated(weights)
    running = start(replace(order, weights=weights))
    out, err = running.communicate()
    assert running.returncode == 1
    assert set(json.loads(out)) == {"what", "where", "hint"}
    assert "Traceback" not in err


def test_an_unknown_flag_is_refused(order: build.Order) -> None:
    running = start(order, "--flags", '{"tokeniser_pre": "x"}')
    assert "unknown flag tokeniser_pre" in json.loads(running.communicate()[0])["what"]


ENGINE = """
import json, sys, urllib.request, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.hostnames, params.port = sys.argv[1], ["127.0.0.1"], 0
params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 512, 1, 1
params.fit_params = params.ui = params.warmup = False
server = xllamacpp.Server(params)
for body in json.load(sys.stdin):
    data = json.dumps({**body, "temperature": 0}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.listening_address + "/v1/completions", data, headers)
    print("ANSWER", json.dumps(json.load(urllib.request.urlopen(request))["choices"][0]["text"]))
"""


@pytest.mark.parametrize("precision", ["f32", "f16", "q8_0", "q4_0"])
def test_the_engine_gives_the_known_answers(order: build.Order, precision: str) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp, the engine, is not installed here")
    build.run(replace(order, precision=precision))
    known = record(order)["known_answers"]
    asked = json.dumps([{name: one[name] for name in ("prompt", "max_tokens")} for one in known])
    command_line = [sys.executable, "-c", ENGINE, str(order.final / "model.gguf")]
    ran = subprocess.run(command_line, input=asked, capture_output=True, text=True, check=True)
    said = [json.loads(line[7:]) for line in ran.stdout.splitlines() if line.startswith("ANSWER ")]
    assert said == [one["answer"] for one in known]
