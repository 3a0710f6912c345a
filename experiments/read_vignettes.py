"""How much the reading of one text can tell: `probekit read` on texts that it has not seen.

    python experiments/read_vignettes.py [MODEL] [LAYER]

Directions and unit are of the vignettes' dev split, as in `probekit read`. Read are the test
split's keyword-free and neutral texts, and `complex_neutral`: how often the emotion that was meant
is first, and how often a mean stands above both controls, of the one that was meant, of others, and
of neutral texts. Nothing is drawn but the random directions, which have fixed seeds.
"""

import sys

import numpy as np

from probekit import StimulusSet, load_model
from probekit.directions import Reference, read_text, sources

model = load_model(sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m")
directions = sources.from_vignettes(model)
chosen = int(sys.argv[2]) if len(sys.argv) > 2 else None
layer, why = sources.pick_layer(directions, model, chosen)
reference = Reference.measure(model, directions, sources.neutral_texts(), layer)
print(f"{model.name}, layer {layer} ({why})")

test = StimulusSet.load("vignettes").select(split="test")
for name, texts in (
    ("keyword-free, test", test.select(arm="keyword_free")),
    ("neutral, test", test.select(arm="neutral")),
    ("complex_neutral", StimulusSet.load("complex_neutral")),
):
    readings = [read_text(model, reference, text) for text in texts.texts]
    places = range(len(directions.emotions))
    sides = np.array([[reading.side(place) for place in places] for reading in readings])
    said = f"{name}: {len(texts)} texts"
    if "neutral" in name:
        print(f"{said}; above both {(sides > 0).mean():.3f}, below both {(sides < 0).mean():.3f}")
        continue
    meant = np.array([directions.emotions.index(row.emotion) for row in texts.rows])
    own = np.arange(len(directions.emotions)) == meant[:, None]
    first = sum(r.ranked()[0] == m for r, m in zip(readings, meant, strict=True))
    print(
        f"{said}; the emotion meant is first in {first} (chance {len(texts) / own.shape[1]:.0f}); "
        f"above both: meant {(sides > 0)[own].mean():.3f}, others {(sides > 0)[~own].mean():.3f}"
    )
