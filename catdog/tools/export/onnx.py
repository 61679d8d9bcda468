"""Writes an ONNX graph of the whole of predict; its metadata say what the classes are and where it comes from."""

import contextlib
import io
import json
import logging
from pathlib import Path

from catdog.base.atomic import write_atomic
from catdog.base.extras import how_to_install
from catdog.base.text import in_utf8
from catdog.errors import CatdogError
from catdog.tools.export.exported import Exported

LARGEST = 2**31 - 2**20  # bytes of one ONNX file, which protobuf bounds


def write_onnx(exported: Exported, path: Path) -> None:
    """Write the graph: input "photos", outputs "probabilities" and, where the model file has it, "familiarity"."""
    if sum(array.nbytes for array in exported.tensors.values()) > LARGEST:
        raise CatdogError("the network is larger than the 2 GB that an ONNX file holds; give --format torch.")
    try:
        import onnx
        import onnxscript  # noqa: F401 (which torch.onnx imports)
    except ImportError as error:
        raise CatdogError(
            f"--format onnx needs {error.name}, of the extra [export] of catdog: {how_to_install('export')}; or give "
            "--format html."
        ) from None
    import torch

    from catdog.tools.export.network import program_of

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    outputs = ["probabilities", "familiarity"][: 1 + bool(exported.card.familiarity)]
    with contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            program_of(exported),
            dynamo=True,
            input_names=["photos"],
            output_names=outputs,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    about = exported.about()
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in about.items()}
    onnx.helper.set_model_props(model, {name: in_utf8(text) for name, text in texts.items()})
    model.producer_name, model.doc_string = "catdog", about["input"]
    for axis, name in enumerate(("N", "H", "W")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.checker.check_model(model, full_check=True)
    write_atomic(path, lambda file: file.write(model.SerializeToString()))
