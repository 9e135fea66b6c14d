"""A run folder with injected markup in every field that a report shows."""

import json

import numpy as np

from phasecore.recording.folder import save_snapshot


def payloads(server):
    run = "document.title='owned'"
    return [
        f"<script>{run}</script>",
        f"</script><script>{run}</script>",
        f"</title><script>{run}</script>",
        f'"><img src={server}/a onerror="{run}">',
        f"<svg onload=\"{run}\"><image href='{server}/b'/></svg>",
        f'<a href="javascript:{run}">click</a>',
        f"<iframe src='{server}/c'></iframe><link rel=stylesheet href='{server}/d'>",
        f"</pre></details><meta http-equiv=refresh content='0;url={server}/e'>",
        f"{{{{ 7 * 7 }}}}{{% raw %}}<style>@import url({server}/f);</style>",
        "\u2028\u0000]]>--><!--",
    ]


def hostile_run(folder, server="http://127.0.0.1:9"):
    """Make the folder, and return it."""
    texts = payloads(server)
    every = " ".join(texts)
    (folder / "snapshots").mkdir(parents=True)
    configuration = {
        name: f"{name} {every}" for name in ("problem", "backend", "weighting", "sampling", "preset", "policy")
    }
    configuration |= {
        "failure": f"failure {every}",
        "problem_parameters": dict.fromkeys(texts, every),
        "problem_source": {"class": every, "file": every, "coordinates": texts[:2]},
        "settings": {text: text for text in texts},
        "plugins": [{"kind": "problem", "name": text, "distribution": None, "version": text} for text in texts],
        "probes": texts,
        "loggers": texts,
        "created_at_utc": every,
        "seed": 0,
    }
    (folder / "run.json").write_text(json.dumps(configuration))
    acted = [
        {"iteration": 50 + place, "policy": text, "action": text, "to": text, "reason": text}
        for place, text in enumerate(texts)
    ]
    rows = [
        {"iteration": k, "snr": 100.0 / k, **dict.fromkeys(texts, 1.0 * k), "coefficient": 1.0} for k in range(1, 80)
    ]
    rows[49]["actions"] = acted
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    axes = np.meshgrid(np.linspace(0, 1, 6), np.linspace(0, 1, 5), indexing="ij")
    grid = np.stack(axes, axis=-1).reshape(-1, 2)
    # a slash and NUL cannot be in the name of a member of an archive
    names = [text.replace("/", " ").replace("\u0000", " ") for text in texts]
    arrays = {"grid": grid, "points": grid}
    for name in names:
        arrays |= {f"{kind}{name}": grid.sum(axis=1) for kind in ("field_", "residual_", "weight_")}
    save_snapshot(folder, 10, arrays)
    return folder
