"""One token more, from Triton's logits: the request in its protocol's JSON, the answer's last row in binary."""

from __future__ import annotations

import json
from array import array
from typing import Any, Callable, Collection, Dict, List, Set, Tuple

_ENDS = ("<｜end▁of▁sentence｜>", "<|end_of_text|>", "</s>", "<|endoftext|>")
_KINDS = {"FP32": ("f", 4), "FP16": ("e", 2)}
_MASKS = {"attention_mask": lambda size: [1] * size, "position_ids": lambda size: list(range(size))}


class Unfit(ValueError):
    """The model is not one whose logits can be decoded."""


def greedy(ask: Callable[[List[int]], int], ids: List[int], wanted: int, ends: Collection[int]) -> List[int]:
    """Up to `wanted` tokens; one that ends the text is the last and is counted."""
    made: List[int] = []
    while len(made) < wanted:
        made.append(ask(ids + made))
        if made[-1] in ends:
            break
    return made


def ends(tokens: Any) -> Set[int]:
    found = (tokens.token_to_id(text) for text in _ENDS)
    return {number for number in found if number is not None}


def next_token(front: Any, ids: List[int]) -> int:
    """Raises Unfit, OSError or http.client.HTTPException."""
    inputs, output = _shape(front)
    body = json.dumps(question(ids, inputs, output)).encode()
    status, headers, answer = front.triton(
        "POST", f"/v2/models/{front.model}/infer", body, {"Content-Type": "application/json"}
    )
    if status != 200:
        raise OSError(f"triton: status {status}: {answer[:200]!r}")
    size = int(headers.get("Inference-Header-Content-Length", 0))
    return best(json.loads(answer[:size]), answer[size:])


def question(ids: List[int], inputs: List[Tuple[str, str]], output: str) -> Dict[str, Any]:
    """Batches are Triton's affair: each request is one row."""
    made = []
    for name, kind in inputs:
        if name != "input_ids" and name not in _MASKS:
            raise Unfit(f"the model wants an input {name}: only input_ids, {', '.join(_MASKS)} are known")
        data = ids if name == "input_ids" else _MASKS[name](len(ids))
        made.append({"name": name, "datatype": kind, "shape": [1, len(ids)], "data": data})
    return {"inputs": made, "outputs": [{"name": output, "parameters": {"binary_data": True}}]}


def best(head: Dict[str, Any], data: bytes) -> int:
    """The token with the highest logit in the last position; the lowest number among equals."""
    told = head["outputs"][0]
    if told["datatype"] not in _KINDS or len(told["shape"]) != 3:
        raise Unfit(f"the output is {told['datatype']} {told['shape']}, not logits [batch, position, vocabulary]")
    letter, width = _KINDS[told["datatype"]]
    vocabulary = int(told["shape"][2])
    last = data[len(data) - vocabulary * width :]
    row = array("f", last) if letter == "f" else memoryview(last).cast("B")
    values = list(row) if letter == "f" else _halves(last)
    return max(range(vocabulary), key=values.__getitem__)


def _halves(data: bytes) -> List[float]:
    import struct

    return list(struct.unpack(f"<{len(data) // 2}e", data))


def _shape(front: Any) -> Tuple[List[Tuple[str, str]], str]:
    """Inputs with their types, and the output with the logits; asked once."""
    if not hasattr(front, "shape"):
        status, _, answer = front.triton("GET", f"/v2/models/{front.model}", None, {})
        if status != 200:
            raise OSError(f"triton: status {status}: {answer[:200]!r}")
        told = json.loads(answer)
        outputs = [one["name"] for one in told["outputs"]]
        if not outputs:
            raise Unfit("the model has no output")
        chosen = "logits" if "logits" in outputs else outputs[0]
        front.shape = [(one["name"], one["datatype"]) for one in told["inputs"]], chosen
    found: Tuple[List[Tuple[str, str]], str] = front.shape
    return found
