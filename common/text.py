"""When two texts are the same, and how a title and a description become one, or a label text."""

import re
from collections.abc import Container
from typing import Any

# What stands in tables where there is no description, in small letters
PLACEHOLDERS = ("nan", "none", "null", "n/a", "na", "-", "--", ".", "tbd")
TITLE_LINES = 3  # of a cell, from which on it is no title
LABEL_DESC_CHARS = 200  # of the description in a short label text: about 45 tokens
# The text by which an occupation is known, by label mode
LABEL_MODES = {
    "title": "{title}",
    "title_desc": "{title}. {short_description}",
    "full_text": "{title}. {description}",
}


def normalize(text: str) -> str:
    """The form in which two texts count as the same: letter case and spacing aside."""
    return " ".join(text.casefold().split())


def is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty: None, NaN, pandas' NA or NaT."""
    if isinstance(value, str):
        return False
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def job_texts(title: str | None, description: str | None = "") -> tuple[str, str]:
    """The two texts that are encoded for a job: title and description in one, and the title alone.

    They are joined as in the label texts. What a table lacks (see is_missing) counts as empty, and
    so does a description such as "n/a".

    Raises:
        TypeError: a text is not a string.
        ValueError: the title is blank, or a text has characters that UTF-8 cannot hold.
    """
    title = "" if is_missing(title) else title
    description = "" if is_missing(description) else description
    if isinstance(description, str) and normalize(description) in PLACEHOLDERS:
        description = ""
    for name, text in (("title", title), ("description", description)):
        if not isinstance(text, str):
            raise TypeError(
                f"the job {name} must be a string, not {type(text).__name__} ({text!r:.80})"
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"the job {name} has broken characters: it is not in UTF-8") from None
    title, description = str(title).strip(), str(description).strip()
    # Control characters and the like are not read by the encoder
    if not any(letter.isprintable() and not letter.isspace() for letter in title):
        raise ValueError("the job title is empty")
    return f"{title}. {description}" if description else title, title


def row_texts(title: Any, description: Any, industry: Any, own: Container[str]) -> tuple[str, str]:
    """As job_texts, of the cells of a table. An industry is read before the title.

    Args:
        own: normalised titles of the user's own, which need no industry.

    Raises:
        TypeError, ValueError: as from job_texts, or the title is a formula, or runs over lines.
    """
    title = job_texts(title)[1]
    if title.startswith("="):
        raise ValueError("the title is a formula without a value: open and save the file in Excel")
    if title.count("\n") + 1 >= TITLE_LINES:
        raise ValueError("the title has several lines: is a quotation mark not closed?")
    has_industry = not is_missing(industry) and normalize(str(industry)) not in ("", *PLACEHOLDERS)
    if has_industry and normalize(title) not in own:
        title = f"{industry} {title}"
    return job_texts(title, description)


def label_texts(title: str, description: str) -> dict[str, str]:
    """An occupation's label text in every mode."""
    short = cut_at_word(description, LABEL_DESC_CHARS)
    parts = {"title": title, "description": description, "short_description": short}
    return {mode: form.format(**parts) for mode, form in LABEL_MODES.items()}


def title_forms(title: str) -> list[str]:
    """The two forms in a title such as "User Experience Designer (UX Designer)"; of others none."""
    both = re.fullmatch(r"([^()]+?) ?\(([^()]+)\)", title)
    return list(both.groups()) if both else []


def two_jobs(title: str) -> list[str]:
    """The two jobs in a title such as "Bartender/Server"; of others none."""
    parts = [part.strip() for part in title.split("/")]
    letters = [sum(letter.isalnum() for letter in part) for part in parts]
    return parts if len(parts) == 2 and min(letters) > 2 else []


def cut_at_word(text: str, limit: int) -> str:
    """The first `limit` characters of a text, ending with a whole word."""
    if len(text) <= limit:
        return text
    return text[: limit + 1].rsplit(" ", 1)[0].rstrip(" ,;:")
