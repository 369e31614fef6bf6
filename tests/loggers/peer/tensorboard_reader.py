"""What TensorBoard's own reader finds in a folder, as JSON: python tensorboard_reader.py FOLDER (see tensorboard.mjs)."""

import io
import json
import sys
from pathlib import Path

from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.mesh import metadata as mesh
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.util import tensor_util

root = Path(sys.argv[1])


def accumulated(path):
    accumulator = EventAccumulator(str(path), size_guidance={k: 0 for k in ["scalars", "tensors", "images"]})
    accumulator.Reload()
    return accumulator


def scalars(path):
    found = accumulated(path)
    return {tag: [[e.step, e.value] for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


main = accumulated(root / "main")
tags = main.Tags()


def tensor(tag):
    return tensor_util.make_ndarray(main.Tensors(tag)[0].tensor_proto)


def pictures():
    for tag in tags["images"]:
        picture = Image.open(io.BytesIO(main.Images(tag)[0].encoded_image_string))
        yield tag, [picture.format, *picture.size, getattr(picture, "n_frames", 1)]


def plugin(tag):
    return main.SummaryMetadata(tag).plugin_data


histogram = main.Histograms("weights")[0].histogram_value
config = ProjectorConfig()
text_format.Parse((root / "main" / "projector_config.pbtxt").read_text(), config)
hp = accumulated(root / "main" / "hp")
start = hparams.parse_session_start_info_plugin_data(
    hp.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
)

print(
    json.dumps(
        {
            "scalars": scalars(root / "main"),
            "group": scalars(root / "main" / "g_x"),
            "histogram": [histogram.min, histogram.max, histogram.num, histogram.sum, sum(histogram.bucket)],
            "images": dict(pictures()),
            "audio": [main.Audio("sound")[0].sample_rate, main.Audio("sound")[0].length_frames],
            "text": [str(v, "utf-8") for v in tensor("note/text_summary")],
            "curve": [plugin("curve").plugin_name, list(tensor("curve").shape)],
            "layout": str(layout_pb2.Layout.FromString(tensor("custom_scalars__config__").item()).category[0].title),
            "mesh": [mesh.parse_plugin_metadata(plugin("m_VERTEX").content).name, list(tensor("m_VERTEX").shape)],
            "tensor": tensor("t").tolist(),
            "graph": sorted({node.op for node in main.Graph().node}),
            "hparams": {k: str(v).strip() for k, v in sorted(start.hparams.items())},
            "projector": [e.tensor_name for e in config.embeddings],
            "resumed": scalars(root / "resumed" / "log" / "v"),
        }
    )
)
