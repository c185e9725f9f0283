"""The encoder on onnxruntime or on torch, its ONNX graph and the export of it."""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tqdm import tqdm

from common.files import InputError

TOKENIZER_FILE = "tokenizer.json"
WEIGHTS = {"onnx": "model_int8.onnx", "torch": "model.safetensors"}  # by engine
THREADS = 0  # of onnxruntime; 0: as many as there are cores
TOKENS_PER_RUN = 1024  # encoded at a time: what a layer makes of more does not stay in the cache
MANY_RUNS = 8  # from which on they are shared out over the cores

Progress = Callable[[float], Any] | None

# ------------------------------------------------------------------------------ encoders


class OnnxEncoder:
    """The encoder in 8 bits by onnxruntime: needs neither torch nor sentence-transformers."""

    def __init__(self, model_dir: Path, max_seq_length: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(model_dir / TOKENIZER_FILE))
        self.tokenizer.enable_truncation(max_seq_length)
        self.tokenizer.no_padding()
        self.path = model_dir / WEIGHTS["onnx"]
        self.session = session_of(self.path)

    @cached_property
    def pool(self) -> tuple[onnxruntime.InferenceSession, ThreadPoolExecutor]:
        """For many runs: each has one thread, so that none waits for one that others hold up."""
        return session_of(self.path, threads=1), ThreadPoolExecutor(THREADS or cores())

    def encode(
        self, texts: list[str], show_progress_bar: bool = False, progress: Progress = None
    ) -> np.ndarray:
        """Unit embeddings, float32, shape (texts, dimensions).

        Args:
            progress: is called now and then with the share of the tokens that are encoded.
        """
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        lengths = np.array([len(tokens) for tokens in ids])
        dimensions = self.session.get_outputs()[0].shape[1]
        embeddings, encoded = np.empty((len(texts), dimensions), dtype=np.float32), 0
        parts = []
        # Texts of one length go together: they need no padding, which costs as much as text
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            parts += np.array_split(rows, math.ceil(len(rows) * length / TOKENS_PER_RUN))

        session = self.session
        run_all: Callable[..., Any] = map
        if len(parts) >= MANY_RUNS:
            session, executor = self.pool
            run_all = executor.map

        def run(part: np.ndarray) -> np.ndarray:
            return session.run(None, {"input_ids": np.array([ids[row] for row in part])})[0]

        with tqdm(
            total=len(texts), desc="encoding", unit="text", disable=not show_progress_bar
        ) as bar:
            for part, found in zip(parts, run_all(run, parts), strict=True):
                embeddings[part] = found
                bar.update(len(part))
                encoded += lengths[part].sum()
                if progress:
                    progress(encoded / lengths.sum())
        return embeddings


class TorchEncoder:
    """The encoder in float32 by sentence-transformers."""

    def __init__(self, model_dir: Path, max_seq_length: int) -> None:
        try:
            import torch  # takes seconds, so only where it is asked for
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging
        except ImportError as error:
            raise ImportError(
                f"backend torch needs more ({error}): install all, see README: Installation"
            ) from None
        logging.disable_progress_bar()  # of loading, a third of a second
        # The file holds half precision; a CPU computes faster and more exactly in float32
        kwargs = {"dtype": torch.float32}
        self.model = SentenceTransformer(str(model_dir), model_kwargs=kwargs, local_files_only=True)
        self.model.max_seq_length = max_seq_length

    def encode(
        self, texts: list[str], show_progress_bar: bool = False, progress: Progress = None
    ) -> np.ndarray:
        """As OnnxEncoder.encode; progress is not told."""
        embeddings = self.model.encode(
            texts,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=show_progress_bar,
        )
        return embeddings.astype(np.float32, copy=False)


ENCODERS: dict[str, Any] = {"onnx": OnnxEncoder, "torch": TorchEncoder}


def cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_backend(model_dir: Path) -> str:
    """The engine for a model: onnx if it was exported, else torch."""
    return "onnx" if (model_dir / WEIGHTS["onnx"]).is_file() else "torch"


# ------------------------------------------------------------------------------ graphs


class Graph:
    """An ONNX graph in the making. Every operation returns the name of its output."""

    OPERATIONS = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    OWN = ("MatMulIntegerToFloat", "MultiHeadAttention")  # of onnxruntime, not of the standard

    def __init__(self) -> None:
        self.nodes, self.constants = [], []

    def add(self, operation: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """Add an operation.

        Args:
            inputs: names of outputs, or arrays, which become constants.

        Returns:
            The name of its output; with several outputs, a list of names.
        """
        names = []
        for value in inputs:
            if not isinstance(value, str):
                array = np.asarray(value, order="C")
                self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
                value = self.constants[-1].name
            names.append(value)
        results = [f"n{len(self.nodes)}.{i}" for i in range(outputs)]
        domain = "com.microsoft" if operation in self.OWN else ""
        node = helper.make_node(operation, names, results, domain=domain, **attributes)
        self.nodes.append(node)
        return results[0] if outputs == 1 else results

    def int8_product(
        self, x: str, weights: np.ndarray, scales: np.ndarray, largest: float | None = None
    ) -> str:
        """x @ (weights * scales): weights int8, (in, out), scales float32, (out,) or (1,).

        x is rounded to 8 bits as well: by what is largest in each row, so that a row's result does
        not depend on the others; or, given the largest there is, all alike, in half the time.
        """
        # Processors without VNNI add the products of two neighbours in 16 bits: 255 times 128 is
        # the most that fits. Outputs whose neighbouring weights exceed that get larger steps.
        weights = np.array(weights, order="C")
        sizes = np.abs(weights).view(np.uint8)
        largest_pairs = np.add(sizes[::2], sizes[1::2], dtype=np.uint8).max(axis=0)
        over = largest_pairs > 128
        # 127, since rounding may add 1
        steps = np.where(over, largest_pairs / np.float32(127), np.float32(1))
        weights[:, over] = np.round(weights[:, over] / steps[over])

        zero, step = np.uint8(128), np.float32((largest or 1) / 127)
        if largest is None:
            row_largest = self.add("ReduceMax", self.add("Abs", x), np.array([-1]), keepdims=1)
            x = self.add("Div", x, row_largest)
        rounded = self.add("QuantizeLinear", x, step, zero)
        product = self.add("MatMulIntegerToFloat", rounded, weights, step, scales * steps, zero)
        return product if largest else self.add("Mul", product, row_largest)

    def model(self, inputs: tuple[str, int, list], result: str, dimensions: int) -> bytes:
        """The finished graph, from an input (name, element type, shape) to a float matrix."""
        given = helper.make_tensor_value_info(*inputs)
        shape = [inputs[2][0], dimensions]
        found = helper.make_tensor_value_info(result, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "graph", [given], [found], self.constants)
        model = helper.make_model(graph, opset_imports=self.OPERATIONS, ir_version=10)
        return model.SerializeToString()


def session_of(model: bytes | Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS if threads is None else threads
    # Threads that wait for the next run in a loop would hold up whoever computes in between
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


# ------------------------------------------------------------------------------ export


def export_onnx(model_dir: Path) -> None:
    """Write a saved BERT encoder, pooling and normalisation included, as OnnxEncoder runs it.

    The graph takes texts of one length, so that there is no padding: "input_ids" int64, shape
    (texts, tokens), and gives unit embeddings, shape (texts, dimensions). Weights are rounded to
    8 bits by output, and what they are multiplied with by token (see Graph.int8_product).

    Built by hand: exporters' graphs carry a mask through every layer, and their quantizers round a
    whole batch on one scale, so that an answer would depend on what else is in the batch.

    Raises:
        InputError: the encoder is no BERT with mean pooling.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(
        str(model_dir), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    bert, pooling = model[0].model, model[1].pooling_mode
    config = bert.config
    if (config.model_type, config.hidden_act, pooling) != ("bert", "gelu", "mean"):
        raise InputError(
            f"{model_dir} is no BERT encoder with mean pooling: only those are exported"
        )
    weights = {name: tensor.numpy() for name, tensor in bert.state_dict().items()}
    graph = Graph()

    def linear(x: str, *layers: str) -> str:
        matrix = np.concatenate([weights[f"{layer}.weight"] for layer in layers])
        bias = np.concatenate([weights[f"{layer}.bias"] for layer in layers])
        # 7 bits: no two neighbours are too much for int8_product on processors without VNNI
        steps = np.abs(matrix).max(axis=1) / 63
        rounded = np.round(matrix / steps[:, None]).astype(np.int8)
        return graph.add("Add", graph.int8_product(x, rounded.T, steps), bias)

    def add_and_norm(x: str, y: str | np.ndarray, layer: str) -> str:
        gain, bias = weights[f"{layer}.LayerNorm.weight"], weights[f"{layer}.LayerNorm.bias"]
        total = graph.add("Add", x, y)
        return graph.add("LayerNormalization", total, gain, bias, epsilon=config.layer_norm_eps)

    words = weights["embeddings.word_embeddings.weight"]
    steps = np.abs(words).max(axis=1, keepdims=True).clip(1e-6) / 127
    rounded = np.round(words / steps).astype(np.int8)
    x = graph.add("Cast", graph.add("Gather", rounded, "input_ids"), to=TensorProto.FLOAT)
    x = graph.add("Mul", x, graph.add("Gather", steps, "input_ids"))
    places = weights["embeddings.position_embeddings.weight"]
    places = places + weights["embeddings.token_type_embeddings.weight"][0]
    length = graph.add("Shape", "input_ids", start=1, end=2)
    x = add_and_norm(x, graph.add("Slice", places, np.array([0]), length), "embeddings")
    for i in range(config.num_hidden_layers):
        layer = f"encoder.layer.{i}"
        attention = [f"{layer}.attention.self.{name}" for name in ("query", "key", "value")]
        parts = graph.add("Split", linear(x, *attention), outputs=3, axis=2, num_outputs=3)
        attended = graph.add("MultiHeadAttention", *parts, num_heads=config.num_attention_heads)
        x = add_and_norm(
            x, linear(attended, f"{layer}.attention.output.dense"), f"{layer}.attention.output"
        )
        inner = graph.add("Gelu", linear(x, f"{layer}.intermediate.dense"))
        x = add_and_norm(x, linear(inner, f"{layer}.output.dense"), f"{layer}.output")
    mean = graph.add("ReduceMean", x, np.array([1]), keepdims=0)
    unit = graph.add("LpNormalization", mean, axis=1, p=2)
    inputs = ("input_ids", TensorProto.INT64, ["texts", "tokens"])
    path = model_dir / WEIGHTS["onnx"]
    path.write_bytes(graph.model(inputs, unit, config.hidden_size))
