"""Run an exported model with jax and numpy alone.

    python docs/load_export.py FILE PHOTOS.npz

PHOTOS.npz has a uint8 array [b, size, size, 3] for every input that FILE.json lists.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np
from jax import export

file, photos = Path(sys.argv[1]), np.load(sys.argv[2])
description = json.loads(Path(f"{file}.json").read_text())
model = export.deserialize(bytearray(file.read_bytes()))
platform = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
if platform not in model.platforms:
    print(f"error: {file} is for {', '.join(model.platforms)}; this machine has {platform}", file=sys.stderr)
    sys.exit(2)
outputs = model.call({name: photos[name] for name in description["inputs"]})
for i, logits in enumerate(np.asarray(outputs.get("logits", []))):
    print(i, description["classes"][int(logits.argmax())])
for i, box in enumerate(np.asarray(outputs.get("box", []))):
    print(i, "left, top, right, bottom, as shares of the photo:", *box.round(4))
np.savez(file.with_suffix(".outputs.npz"), **outputs)
