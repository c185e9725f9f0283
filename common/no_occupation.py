"""Answers that are no occupation: retired, none, an employer's name, somebody else's job."""

# Why nothing is coded, by reason in written/no_occupation.tsv
REASONS = {
    "status": "no job is told: out of work, retired, studying or at home",
    "refusal": "no answer is given",
    "class": "only how somebody is employed is told",
    "junk": "nothing is told about a job",
    "other": "somebody else's job is told",
    "language": "it is not in English",
    "employer": "only an employer is told",
    "industry": "only an industry or a workplace is told",
    "vague": "the title is too vague without a description",
}
PREFIX = "no occupation: "


def reason_of(title: str) -> str:
    """The reason why a title is no occupation that its letters tell, or ""."""
    letters = [letter for letter in title.casefold() if letter.isalpha()]
    if not letters:
        return "refusal"
    foreign = sum(ord(letter) > 0x24F for letter in letters)  # beyond Latin ones
    return "language" if 2 * foreign > len(letters) else ""
