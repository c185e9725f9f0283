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
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import gradio as gr  # noqa: E402
import jinja2  # noqa: E402

from common import coding, tables  # noqa: E402
from common.columns import find_column  # noqa: E402
from common.sentences import sentences_of  # noqa: E402
from common.text import job_texts  # noqa: E402
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
ERRORS = (ImportError, OSError, ValueError)  # whose text is for people
FONT = gr.themes.LocalFont(
    "Source Sans Pro", weights=(400, 700)
)  # Gradio's default, 600, lacks most Latin letters

# Jinja escapes all texts. Gradio's own templates would run a title such as ${...} as JavaScript.
ANSWERS = jinja2.Environment(autoescape=True).from_string("""
<h4>{{ title }}</h4>
{% if ranked[0].reason %}
<p><b>Not coded.</b> This is {{ ranked[0].reason }}.</p>
{% else %}
<table>
  <tr>
    <th class="more">Rank</th><th>O*NET-SOC code</th><th>Occupation</th>
    <th>Confidence</th><th class="more">Score</th><th class="more">Margin</th>
  </tr>
  {% for row in ranked %}
  <tr>
    <td class="more">{{ row.rank }}</td> <td>{{ row.code }}</td>
    <td class="text">{{ row.title }}</td>
    <td>
      <b>{{ "%.1f"|format(100 * row.confidence) }} %</b>
      <i class="more" style="width: {{ 6 * row.confidence }}em"></i>
    </td>
    <td class="more">{{ "%.3f"|format(row.score) }}</td>
    <td class="more">{{ "" if row.margin is none else "%.3f"|format(row.margin) }}</td>
  </tr>
  {% endfor %}
</table>
<p>Confidence: probability that the occupation is right. <span class="more">Score: how near it is,
from -1 to 1. Margin: distance to the next score.</span></p>
{% endif %}
{% if title_read != title or words_read < words %}
<details>
  <summary>What was read of the job</summary>
  {% if title_read != title %}
  <p>The title, with its spelling corrected:</p>
  <blockquote>{{ title_read }}</blockquote>
  {% endif %}
  {% if words_read < words %}
  <p>Of the description the sentences that tell most, {{ words_read }} of {{ words }} words:</p>
  <blockquote>{{ description_read }}</blockquote>
  {% endif %}
</details>
{% endif %}
{% if not ranked[0].reason %}
<h4>SOC levels of the first answer</h4>
{% set first = ranked[0] %}
<table>
  {% for level, code, name in [
    ("Major group", first.major_group, first.major_group_title),
    ("Minor group", first.minor_group, first.minor_group_title),
    ("Broad group", first.broad_group, first.broad_group_title),
    ("SOC", first.soc, first.soc_title),
    ("O*NET-SOC", first.code, first.title),
  ] %}
  <tr><td>{{ level }}</td> <td>{{ code }}</td> <td class="text">{{ name }}</td></tr>
  {% endfor %}
</table>
<h4>Evidence: the known texts closest to the job</h4>
{% for row in ranked %}
<details {{ "open" if loop.first }}>
  <summary>{{ row.code }} {{ row.title }}</summary>
  <table>
    <tr><th>Kind</th><th>Text</th><th>Cosine</th></tr>
    {% for known in row.evidence %}
    <tr>
      <td>{{ known.kind }}</td> <td class="text long">{{ known.text }}</td>
      <td>{{ "%.3f"|format(known.score) }}</td>
    </tr>
    {% endfor %}
  </table>
</details>
{% endfor %}
{% endif %}
""")
WAITING = "The answers will appear here."
# Where the answers have little room, as on a phone, what is needed less gives way
STYLE = """
container-type: inline-size;
overflow-wrap: break-word;
table { width: 100%; margin: 0 0 0.5em; }
table, tr { border: 0; }
th, td { border: 0; padding: 0.35em 0.6em; white-space: nowrap; }
th, td { border-bottom: 1px solid var(--border-color-primary); }
.text { width: 100%; white-space: normal; }
.long { overflow-wrap: anywhere; }
td b { display: inline-block; width: 4em; font-weight: normal; }
td i { display: inline-block; height: 0.7em; background: var(--color-accent); }
summary { cursor: pointer; padding: 0.2em 0; }
blockquote { margin: 0 0 0.5em; }
@container (max-width: 540px) {
  .more { display: none; }
  th { white-space: normal; }
  th, td { padding: 0.35em 0.3em; }
}
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
                    label="Job description (optional)",
                    lines=8,
                    max_lines=12,
                    placeholder="Duties first.",
                )
                top_k = gr.Slider(**TOP_K, value=5, label="Number of answers (top-k)")
                button = gr.Button("Code this job", variant="primary")
            with gr.Column(scale=3):
                answers = gr.HTML(WAITING, css_template=STYLE)
        job = [title, description, top_k]
        gr.on([button.click, title.submit], partial(code_job, classifier), job, answers)
        # The answers to a job go when another is typed, or none
        gr.on([title.change, description.change], None, None, answers, js=f"() => '{WAITING}'")

        with gr.Tab("A table"):
            with gr.Row():
                with gr.Column():
                    upload = gr.File(
                        label="CSV, TSV, TXT, JSON, XLSX or Parquet file",
                        file_types=[*tables.FILES, ".gz"],
                    )
                    columns = [
                        gr.Dropdown(label="Title column"),
                        gr.Dropdown(label="Description column"),
                        gr.Dropdown(label="Industry column"),
                    ]
                with gr.Column():
                    top_k = gr.Slider(**TOP_K, value=3, label="Answers per row (top-k)")
                    min_confidence = gr.Slider(
                        0, 1, value=0, step=0.05, label="Least confidence (0: off)"
                    )
                    with_levels = gr.Checkbox(label="SOC groups of the first answer")
                    button = gr.Button("Code this table", variant="primary")
            result = gr.Textbox(label="Result", lines=3)
            preview = gr.Dataframe(
                label=f"First {PREVIEW_ROWS} rows: title and answers", visible=False
            )
            download = gr.DownloadButton(visible=False)
        results = [result, preview, download]
        upload.change(look_into, upload, [*columns, *results])
        table = [upload, *columns, top_k, min_confidence, with_levels]
        button.click(partial(code_table, classifier), table, results)
        gr.Markdown(CREDIT)
    return blocks


def one_line(error: Exception, upload: str = "") -> str:
    """What an error says; an upload is named without the folder where Gradio put it."""
    return " ".join(str(error).replace(upload, Path(upload).name).split())


@contextmanager
def errors_shown(upload: str = "") -> Iterator[None]:
    """Show errors in the page."""
    try:
        yield
    except ERRORS as error:
        raise gr.Error(html.escape(one_line(error, upload)), print_exception=False) from None


def code_job(classifier: JobClassifier, title: str, description: str, top_k: int) -> str:
    """The answers as HTML."""
    with errors_shown():
        ranked = classifier.predict(title, description, top_k, explain=True)
    whole, title = job_texts(title, description)
    sentences = sentences_of(whole[len(title) + 2 :])
    whole_read, title_read = classifier.read((whole, title))
    description_read = whole_read[len(title_read) + 2 :]
    return ANSWERS.render(
        ranked=ranked,
        title=title,
        title_read=title_read,
        words=len(" ".join(sentences).split()),
        words_read=len(description_read.split()),
        description_read=description_read,
    )


def look_into(upload: str | None) -> list[Any]:
    """The columns to choose from, those chosen that are known by their names, and no result yet."""
    names, known, line = [], {"title": None, "description": None}, ""
    if upload is not None:
        try:
            table = tables.read_table(upload)
        except ERRORS as error:
            line = one_line(error, upload)
        else:
            table.columns = list(map(as_text, table.columns))
            names = list(dict.fromkeys(filter(str.strip, table.columns)))
            known = {what: known_column(table, what) for what in known}
            if known["title"] is None:
                line = f"{Path(upload).name}: choose the column of titles"
    or_none = [("none", ""), *names]
    return [
        gr.Dropdown(names, value=known["title"]),
        gr.Dropdown(or_none, value=known["description"] or ""),
        gr.Dropdown(or_none, value=""),
        line,
        gr.Dataframe(visible=False),
        gr.DownloadButton(visible=False),
    ]


def known_column(table: tables.Table, what: str) -> str | None:
    """The column that holds something by its name, if there is just one."""
    try:
        return find_column(table, what, None)
    except ValueError:
        return None


def code_table(
    classifier: JobClassifier,
    upload: str | None,
    title_column: str | None,
    description_column: str,
    industry_column: str,
    top_k: int,
    min_confidence: float,
    with_levels: bool,
    progress: gr.Progress = PROGRESS,
) -> tuple[str, gr.Dataframe, gr.DownloadButton]:
    """What became of the rows, the first of them, and a button to download all."""
    if upload is None or title_column is None:
        raise gr.Error("choose a file and its column of titles first", print_exception=False)
    path, least = Path(upload), min_confidence or None
    output = Path(tempfile.mkdtemp(dir=path.parent)) / coding.output_beside(path).name
    lines: list[str] = []
    with errors_shown(upload):
        counts = coding.code_file(
            classifier,
            path,
            output,
            title_column,
            description_column,
            top_k,
            least,
            industry_column=industry_column,
            with_levels=with_levels,
            tell=lines.append,
        )
    jobs = tables.read_jobs(path, title_column, "", industry_column)
    titles, _, industries = jobs.texts(next(jobs.table.parts())[:PREVIEW_ROWS])
    shown = [" ".join(filter(None, pair)) for pair in zip(industries, titles, strict=True)]
    table = tables.read_table(output)
    part = next(table.parts())[:PREVIEW_ROWS]
    added = coding.added_columns(top_k, least, with_levels)
    rows = zip(shown, *(table.column(part, name) for name in added), strict=True)
    return (
        "\n".join([*lines, coding.summary(counts)]),
        gr.Dataframe(
            [list(map(as_text, row)) for row in rows], headers=[title_column, *added], visible=True
        ),
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
    except ERRORS as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
