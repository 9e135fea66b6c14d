"""Curves in the files of other tools: the phases found are those of the curve itself, whoever wrote it, and how."""

import json
import math

import numpy as np
import pytest

from phasecore.cli.detect import replay
from phasecore.errors import InputError
from phasecore.phases import Curve, detect
from phasecore.recording.column_names import parse_columns
from phasecore.recording.reading import read_curve
from phasecore.testing.curves import synthetic_curve

MADE = synthetic_curve("sigmoid", seed=3, rise=(2.0, 2.0), noise=(0.2, 0.2))
STEPS = [int(step) for step in MADE.columns["iteration"][::4]]
SNR = [float(value) for value in MADE.columns["snr"][::4]]
LOSS = [float(value) for value in MADE.columns["training_loss"][::4]]
ROWS = list(zip(STEPS, SNR, LOSS, strict=True))
CURVE = Curve.from_columns({"iteration": STEPS, "snr": SNR, "training_loss": LOSS})
SNR_ALONE = Curve.from_columns({"iteration": STEPS, "snr": SNR})


def lines(header, rows, end="\n"):
    return end.join([header, *rows]) + end


def sparse_lightning():
    rows = []
    for place, (step, snr, loss) in enumerate(ROWS):
        rows += [f"{place},,{step},0.5,", f",{snr!r},{step},,{loss!r}", f",,{step},0.4,"]
    return lines("epoch,snr,step,train_acc,training_loss", rows)


def keras_logger(missing):
    """As CSVLogger writes it: the row of a capture again and again until the next, and none before the first."""
    rows = [f"{epoch},0.7,{missing},{missing},{missing},NA" for epoch in range(3)]
    rows += [f"{3 + k},0.6,{step},{snr!r},{loss!r},NA" for k, (step, snr, loss) in enumerate(ROWS) for _ in range(2)]
    return lines("epoch,loss,iteration,snr,training_loss,val_snr", rows)


def wandb_export():
    header = '"Step","run-7 - snr","run-7 - snr__MIN","run-7 - snr__MAX","run-7 - training_loss"'
    return lines(header, (f'"{step}","{snr!r}","0","9e9","{loss!r}"' for step, snr, loss in ROWS))


def long_table(header, row):
    return lines(
        header, [row("snr", step, snr) for step, snr, _ in ROWS] + [row("training_loss", *r[::2]) for r in ROWS]
    )


def resumed():
    half = len(ROWS) // 2
    stale = [(step, 1e-3 * snr, 1e3 * loss) for step, snr, loss in ROWS[half : half + 9]]
    return lines(
        "iteration,snr,training_loss", (f"{a},{b!r},{c!r}" for a, b, c in [*ROWS[:half], *stale, *ROWS[half:]])
    )


def shuffled():
    order = np.random.default_rng(0).permutation(len(ROWS))
    return lines("iteration,snr,training_loss", ("{},{!r},{!r}".format(*ROWS[k]) for k in order))


def comma(value):
    return repr(value).replace(".", ",")


def points(step):
    return f"{step:,}".replace(",", ".")


PLAIN = lines("iteration,snr,training_loss", (f"{a},{b!r},{c!r}" for a, b, c in ROWS))
FILES = {
    "plain.csv": PLAIN,
    "semicolons.csv": PLAIN.replace(",", ";"),
    "tabs.tsv": PLAIN.replace(",", "\t"),
    "spaces.txt": PLAIN.replace(",", "   "),
    "padded.csv": PLAIN.replace(",", " , "),
    "decimal commas.csv": lines("iteration;snr;training_loss", (f"{a};{comma(b)};{comma(c)}" for a, b, c in ROWS)),
    "thousands.tsv": lines("iteration\tsnr\ttraining_loss", (f"{a:,}\t{b!r}\t{c!r}" for a, b, c in ROWS)),
    "thousands.csv": lines("iteration,snr,training_loss", (f'"{a:,}",{b!r},{c!r}' for a, b, c in ROWS)),
    "thousands and decimal commas.csv": lines(
        "iteration;snr;training_loss", (f"{points(a)};{comma(b)};{comma(c)}" for a, b, c in ROWS)
    ),
    "thousands with apostrophes.csv": lines(
        "iteration,snr,training_loss", (f"{a:,}".replace(",", "'") + f",{b!r},{c!r}" for a, b, c in ROWS)
    ),
    "three decimals.csv": lines("iteration,snr,training_loss", (f"{a:.3f},{b!r},{c!r}" for a, b, c in ROWS)),
    "three decimals after commas.csv": lines(
        "iteration;snr;training_loss", (f"{a:.3f};".replace(".", ",") + f"{comma(b)};{comma(c)}" for a, b, c in ROWS)
    ),
    "excel.csv": "sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n"),
    "windows.csv": PLAIN.replace("\n", "\r\n"),
    "old mac.csv": PLAIN.replace("\n", "\r"),
    "byte order mark.csv": PLAIN.encode("utf-8-sig"),
    "utf-16.csv": PLAIN.encode("utf-16"),
    "quoted.csv": lines('"iteration","snr","training_loss"', (f'"{a}","{b!r}","{c!r}"' for a, b, c in ROWS)),
    "comments.csv": "# made by hand\n\n" + PLAIN.replace("\n", "\n# more follows\n", 40),
    "numpy.txt": "# a note\n" + "# " + PLAIN.replace(",", " "),
    "capitals.csv": PLAIN.replace("iteration,snr,training_loss", "Step,SNR,Training Loss"),
    "no end.csv": PLAIN.rstrip("\n"),
    "cut off.csv": PLAIN + "999999",
    "header again.csv": PLAIN + PLAIN.partition("\n")[0] + "\n",
    "empty cells at the end.csv": PLAIN.replace("\n", ",\n").replace("training_loss,\n", "training_loss\n"),
    "sparse lightning.csv": sparse_lightning(),
    "keras nan.csv": keras_logger("nan"),
    "keras empty.csv": keras_logger(""),
    "keras NA.csv": keras_logger("NA"),
    "keras semicolons.csv": keras_logger("NA").replace(",", ";"),
    "wandb.csv": wandb_export(),
    "mlflow.csv": long_table("Run,Run ID,metric,step,timestamp,value", lambda n, s, v: f"mine,a1,{n},{s},17{s},{v!r}"),
    "mlflow client.csv": long_table("key,value,timestamp,step", lambda n, s, v: f"{n},{v!r},17{s},{s}"),
    "resumed.csv": resumed(),
    "shuffled.csv": shuffled(),
    "backwards.csv": lines("iteration,snr,training_loss", ("{},{!r},{!r}".format(*row) for row in ROWS[::-1])),
    "second half first.csv": lines(
        "iteration,snr,training_loss", ("{},{!r},{!r}".format(*row) for row in ROWS[90:] + ROWS[:90])
    ),
    "lines.jsonl": "".join(
        json.dumps(dict(zip(("step", "snr", "training_loss"), row, strict=True))) + "\n" for row in ROWS
    ),
    "wandb.jsonl": "".join(
        json.dumps({"_step": a, "_runtime": 0.1, "train/snr": b, "train/training_loss": c}) + "\n" for a, b, c in ROWS
    ),
    "nulls.jsonl": "".join(
        json.dumps({"global_step": a, "snr": b, "training_loss": None})
        + "\n"
        + json.dumps({"global_step": a, "snr": None, "training_loss": c})
        + "\n"
        for a, b, c in ROWS
    ),
    "nulls beside iterations.jsonl": "".join(
        json.dumps({"iteration": a, "snr": b, "training_loss": None})
        + "\n"
        + json.dumps({"iteration": a, "snr": None, "training_loss": c})
        + "\n"
        for a, b, c in ROWS
    ),
    "list.json": json.dumps([{"epoch": a, "snr": b, "training_loss": c} for a, b, c in ROWS]),
}
SCALARS = {
    "run-.-tag-train_snr.csv": lines("Wall time,Step,Value", (f"1.7e9,{step},{snr!r}" for step, snr, _ in ROWS)),
    "snr.json": json.dumps([[1.7e9, step, snr] for step, snr, _ in ROWS]),
}


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


def check(found, expected):
    """The same phases by the same evidence, and what was recorded nothing else: offline and online."""
    kept = np.isfinite(list(found.columns.values())).any(axis=0)
    assert found.iteration[kept].tolist() == expected.iteration.tolist()
    for name, values in expected.columns.items():
        np.testing.assert_array_equal(found.columns[name][kept], values)
    assert detect(found) == detect(expected)
    assert len(detect(found).transitions) == 2
    assert replay(found) == replay(expected)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:.*resumed.csv. from row")
def test_whoever_wrote_the_curve_its_phases_are_the_same(write, name):
    check(read_curve(write(name, FILES[name])), CURVE)


@pytest.mark.parametrize("name", SCALARS)
def test_a_file_of_one_scalar_is_what_it_is_named_after(write, name):
    check(read_curve(write(name, SCALARS[name])), SNR_ALONE)


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("curve.csv", SCALARS["run-.-tag-train_snr.csv"], "iteration=Step,snr=Value"),
        ("curve.csv", lines('i,"ratio, of snr=3"', (f"{a},{b!r}" for a, b, _ in ROWS)),
         "iteration=i,snr=ratio, of snr=3"),
        ("curve.csv", PLAIN.partition("\n")[2], "iteration=1,snr=2"),
        ("loss.dat", "# step, loss_train, loss_test, metrics_test\n"
         + "".join(f"{a} 1.0 2.0 1.0 2.0 {b!r}\n" for a, b, _ in ROWS), "snr=6"),
        ("curve.jsonl", "".join(json.dumps({"n": a, "signal to noise": b}) + "\n" for a, b, _ in ROWS),
         "iteration=n,snr=signal to noise"),
    ],
)  # fmt: skip
def test_the_user_says_what_the_columns_are_called(write, name, content, columns):
    check(read_curve(write(name, content), parse_columns([columns])), SNR_ALONE)


def test_a_resumed_training_is_mentioned_with_its_row(write):
    with pytest.warns(UserWarning, match=rf"from row {len(ROWS) // 2 + 10} on .* the later rows count"):
        read_curve(write("resumed.csv", FILES["resumed.csv"]))


@pytest.mark.parametrize(
    ("cell", "value"),
    [("NaN", math.nan), ("-nan", math.nan), ("1.#QNAN", math.nan), ("-nan(ind)", math.nan), ("inf", math.inf)]
    + [("Infinity", math.inf), ("+Inf", math.inf), ("-Infinity", -math.inf), ("1.#INF", math.inf)]
    + [(cell, None) for cell in ("", "NA", "n/a", "null", "None", "<NA>", "-", '""')],
)
def test_what_was_no_number_is_told_from_what_was_not_recorded(write, cell, value):
    found = read_curve(write("curve.csv", f"iteration,snr\n1,2\n2,{cell}\n3,1\n")).values("snr")
    np.testing.assert_equal(found, [2.0, value, 1.0])


def test_json_of_other_tools_writes_what_is_no_number_as_text(write):
    rows = '{"step": 1, "snr": NaN}\n{"step": 2, "snr": "Infinity"}\n{"step": 3, "snr": null}\n{"step": 4, "snr": 1}\n'
    np.testing.assert_equal(read_curve(write("a.jsonl", rows)).values("snr"), [math.nan, math.inf, None, 1.0])


@pytest.mark.parametrize(
    ("name", "content", "messages"),
    [
        ("a.csv", "time,snr\n1,2\n", ["without iterations", "the columns time, snr", "--columns iteration="]),
        ("a.csv", "Step,acc\n1,2\n",
         ["without a signal-to-noise ratio", "Step, acc", "--columns iteration=Step,snr=acc"]),
        ("a.csv", "Wall time,Step,Value\n1,2,3\n", ["the columns Wall time, Step, Value", "snr=Value"]),
        ("a.csv", "1,2\n2,3\n", ["without iterations", "the columns 1, 2 (without names)", "--columns"]),
        ("loss.dat", "# step, loss_train, loss_test, metrics_test\n0 1 2 3 4\n", ["signal-to-noise", "loss_train"]),
        ("a.csv", "step,train/snr,val/snr\n1,2,3\n",
         ["several columns could be 'snr'", "train/snr, val/snr", "snr=train/snr"]),
        ("a.csv", '"Step","a - snr","b - snr"\n1,2,3\n', ["several columns could be 'snr'", "--columns 'snr=a - snr'"]),
        ("a.csv", "run,step,snr\na,1,2\nb,1,3\n", ["the runs a, b", "the rows of one run"]),
        ("a.csv", "step,snr\n1,2\n1,3\n", ["iteration in row 2 is repeated", "2 and 3"]),
        ("a.csv", "step,snr\n1,2\n,3\n", ["iteration in row 2"]),
        ("a.csv", 'step,snr\n1,"1,234"\n', ["line 2, column 'snr'", "'1,234'"]),
        ("a.csv", 'step,snr\n1,2.5\n"1,000",2.5\n2000,2.5\n', ["line 3, 'step'", "'1,000', which may be thousands"]),
        ("a.csv", "step;snr\n1,000;2,5\n2,000;3,5\n", ["line 2, 'step'", "'1,000', which may be thousands"]),
        ("a.csv", "step;snr\n1.000;2\n2.000;3\n", ["line 2, 'step'", "'1.000', which may be thousands"]),
        ("a.csv", "step,snr\n1,high\n", ["line 2, column 'snr'", "'high'"]),
        ("a.csv", "step,snr\n1,2,3\n", ["line 2", "3 cells"]),
        ("a.csv", "step;snr\n1;1,2,3;4\n", ["line 2", "3 cells"]),
        ("a.csv", "# nothing\n", ["no rows"]),
        ("a.json", "[1, 2]", ["item 1", "a JSON object"]),
        ("a.json", "[{", ["cannot read"]),
        ("a.jsonl", '{"loss": 1}\n', ["without iterations", "the columns loss"]),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_in_one_message(write, name, content, messages):
    with pytest.raises(InputError) as caught:
        read_curve(write(name, content))
    for message in [name, *messages]:
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iteration", "'iteration'; expected pairs of names"),
        ("iteration=", "expected pairs of names"),
        ("step=Step", "'step', which is no column of a history"),
        ("srn=x", "Did you mean snr?"),
        ("snr=a,snr=b", "'snr' twice"),
    ],
)
def test_columns_that_cannot_be(text, message):
    with pytest.raises(InputError) as caught:
        parse_columns([text])
    assert message in str(caught.value)


def test_a_column_that_is_not_there_is_named_with_those_that_are(write):
    with pytest.raises(InputError, match=r"columns snr=snrr: received the columns i, snrs; .*Did you mean 'snrs'"):
        read_curve(write("a.csv", "i,snrs\n1,2\n"), {"iteration": "i", "snr": "snrr"})
