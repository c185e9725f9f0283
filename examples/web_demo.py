"""Code a job, or a whole table of jobs, in the browser, with Gradio.

    pip install gradio
    python examples/web_demo.py        # then open http://127.0.0.1:7860

The page is served to this computer alone and needs no network. Uploads, and what is made of them,
are deleted when the server is stopped (Ctrl+C).
"""

import argparse
import html
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import gradio as gr  # noqa: E402
import jinja2  # noqa: E402

from common import coding, tables  # noqa: E402
from inference import DATA_DIR, MODEL_DIR, JobClassifier  # noqa: E402

# ------------------------------------------------------------------------------ settings

PORT = 7860  # Gradio's own
TOP_K = {
    "minimum": 1,
    "maximum": 10,
    "step": 1,
    "precision": 0,
}  # the eleventh answer is hardly ever right
UPLOAD_LIMIT = "20mb"  # five minutes on two cores; more is for inference.py --input
PREVIEW_ROWS = 20  # of a coded table; all are in the file
PROGRESS = gr.Progress(track_tqdm=True)  # shows code_file's progress bar in the page
FONT = gr.themes.LocalFont(
    "Source Sans Pro", weights=(400, 700)
)  # Gradio's default, 600, lacks most Latin letters

# Jinja escapes all texts. Gradio's own templates would run a title such as ${...} as JavaScript.
ANSWERS = jinja2.Environment(autoescape=True).from_string("""
{% if ranked[0].reason %}
<p>Not coded, {{ ranked[0].reason }}.</p>
{% else %}
<table>
  <tr>
    <th>Rank</th><th>O*NET-SOC code</th><th>Occupation</th>
    <th>Confidence</th><th>Score</th><th>Margin</th>
  </tr>
  {% for row in ranked %}
  <tr>
    <td>{{ row.rank }}</td> <td>{{ row.code }}</td> <td class="text">{{ row.title }}</td>
    <td>
      <b>{{ "%.1f"|format(100 * row.confidence) }} %</b>
      <i style="width: {{ 6 * row.confidence }}em"></i>
    </td>
    <td>{{ "%.3f"|format(row.score) }}</td>
    <td>{{ "" if row.margin is none else "%.3f"|format(row.margin) }}</td>
  </tr>
  {% endfor %}
</table>
<p>Confidence: probability that the occupation is right. Score: how near it is, from -1 to 1.
Margin: distance to the next score.</p>
<h4>SOC levels of the first answer</h4>
{% set first = ranked[0] %}
<table>
  <tr>
    <td>Major group, 2 digits</td>
    <td class="text">{{ first.major_group }} {{ first.major_group_title }}</td>
  </tr>
  <tr><td>SOC code, 6 digits</td> <td class="text">{{ first.soc }}</td></tr>
  <tr>
    <td>O*NET-SOC code, 8 digits</td>
    <td class="text">{{ first.code }} {{ first.title }}</td>
  </tr>
</table>
<h4>Evidence: the known texts closest to the job</h4>
{% for row in ranked %}
<details {{ "open" if loop.first }}>
  <summary>{{ row.code }} {{ row.title }}</summary>
  <table>
    <tr><th>Kind</th><th>Text</th><th>Cosine</th></tr>
    {% for known in row.evidence %}
    <tr>
      <td>{{ known.kind }}</td> <td class="text">{{ known.text }}</td>
      <td>{{ "%.3f"|format(known.score) }}</td>
    </tr>
    {% endfor %}
  </table>
</details>
{% endfor %}
{% endif %}
""")
STYLE = """
table { width: 100%; margin: 0 0 0.5em; }
table, tr { border: 0; }
th, td { border: 0; padding: 0.35em 0.6em; white-space: nowrap; }
th, td { border-bottom: 1px solid var(--border-color-primary); }
.text { width: 100%; white-space: normal; }
td b { display: inline-block; width: 4em; font-weight: normal; }
td i { display: inline-block; height: 0.7em; background: var(--color-accent); }
summary { cursor: pointer; padding: 0.2em 0; }
"""
CREDIT = """\
O\\*NET® Database by the U.S. Department of Labor, Employment and Training Administration
(USDOL/ETA), used under the [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/) license,
modified. O\\*NET® is a trademark of USDOL/ETA, which has not approved, endorsed or tested this
page. Do not decide about a person on a predicted code alone."""

# ------------------------------------------------------------------------------ page


def page(classifier: JobClassifier) -> gr.Blocks:
    with gr.Blocks(title="O*NET job classifier", analytics_enabled=False) as blocks:
        gr.Markdown(
            "# O\\*NET job classifier\n"
            "Job titles and postings in, ranked O\\*NET-SOC occupations out."
        )
        with gr.Tab("One job"), gr.Row():
            with gr.Column(scale=2):
                title = gr.Textbox(label="Job title", placeholder="ICU Nurse")
                description = gr.Textbox(
                    label="Job description (optional)", lines=8, placeholder="Duties first."
                )
                top_k = gr.Slider(**TOP_K, value=5, label="Number of answers (top-k)")
                button = gr.Button("Code this job", variant="primary")
            with gr.Column(scale=3):
                answers = gr.HTML("The answers will appear here.", css_template=STYLE)
        job = [title, description, top_k]
        gr.on([button.click, title.submit], partial(code_job, classifier), job, answers)

        with gr.Tab("A table"):
            with gr.Row():
                upload = gr.File(
                    label="CSV, TSV, JSON Lines or Parquet file", file_types=list(tables.FILES)
                )
                with gr.Column():
                    with gr.Row():
                        title_column = gr.Textbox("title", label="Title column")
                        hint = "description, if there is one"
                        description_column = gr.Textbox(
                            label="Description column (optional)", placeholder=hint
                        )
                    with gr.Row():
                        top_k = gr.Slider(**TOP_K, value=3, label="Answers per row (top-k)")
                        min_confidence = gr.Slider(
                            0, 1, value=0, step=0.05, label="Least confidence (0: off)"
                        )
                    button = gr.Button("Code this table", variant="primary")
            result = gr.Textbox(label="Result", lines=2)
            preview = gr.Dataframe(
                label=f"First {PREVIEW_ROWS} rows: title and answers", visible=False
            )
            download = gr.DownloadButton(visible=False)
        table = [upload, title_column, description_column, top_k, min_confidence]
        button.click(partial(code_table, classifier), table, [result, preview, download])
        gr.Markdown(CREDIT)
    return blocks


@contextmanager
def errors_shown(upload: str = "") -> Iterator[None]:
    """Show errors in the page; an upload is named without the folder where Gradio put it."""
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        message = str(error).replace(upload, Path(upload).name)
        raise gr.Error(html.escape(message), print_exception=False) from None


def code_job(classifier: JobClassifier, title: str, description: str, top_k: int) -> str:
    with errors_shown():
        return ANSWERS.render(ranked=classifier.predict(title, description, top_k, explain=True))


def code_table(
    classifier: JobClassifier,
    upload: str | None,
    title_column: str,
    description_column: str,
    top_k: int,
    min_confidence: float,
    progress: gr.Progress = PROGRESS,
) -> tuple[str, gr.Dataframe, gr.DownloadButton]:
    """What became of the rows, the first of them, and a button to download all."""
    if upload is None:
        raise gr.Error("choose a file first", print_exception=False)
    path, least = Path(upload), min_confidence or None
    output = Path(tempfile.mkdtemp(dir=path.parent)) / f"{path.stem}-coded{path.suffix}"
    with errors_shown(upload):
        counts = coding.code_file(
            classifier, path, output, title_column or None, description_column or None, top_k, least
        )
    table = tables.read_table(output)
    part = next(table.parts())[:PREVIEW_ROWS]
    shown = [title_column or "title", *coding.added_columns(top_k, least)]
    rows = zip(
        *([as_text(value) for value in table.column(part, name)] for name in shown), strict=True
    )
    return (
        coding.summary(counts),
        gr.Dataframe(list(rows), headers=shown, visible=True),
        gr.DownloadButton(f"Download {output.name}", value=output, visible=True),
    )


def as_text(value: object) -> str:
    return (
        "" if value is None else str(value).encode(errors="replace").decode()
    )  # JSON cannot hold broken characters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--model-dir", default=PROJECT / MODEL_DIR, metavar="DIR")
    parser.add_argument("--data-dir", default=PROJECT / DATA_DIR, metavar="DIR")
    parser.add_argument(
        "--own-titles",
        default=(),
        metavar="FILE",
        help="titles of your own, columns title and code",
    )
    args = parser.parse_args()
    try:
        classifier = JobClassifier(args.model_dir, args.data_dir, own_titles=args.own_titles)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["GRADIO_TEMP_DIR"] = folder  # where Gradio puts uploads
            page(classifier).launch(
                server_name="127.0.0.1",
                server_port=args.port,
                share=False,
                run_history=False,  # else the browser keeps every job that was coded
                max_file_size=UPLOAD_LIMIT,
                theme=gr.themes.Default(font=FONT),
            )
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
