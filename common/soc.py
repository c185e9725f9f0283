"""SOC groups: how many digits they have, their codes and names (SOC 2018, bls.gov/soc/2018)."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

# Digits of a SOC code -> characters of 15-1252.00: the O*NET-SOC occupation, the SOC occupation,
# the minor and the major group
DIGITS = {8: 10, 6: 7, 3: 4, 2: 2}
MINOR_GROUPS = {"15-1": "15-1200", "31-1": "31-1100", "51-5": "51-5100"}  # others end in 000
MAJOR_GROUPS = {
    "11": "Management",
    "13": "Business and Financial Operations",
    "15": "Computer and Mathematical",
    "17": "Architecture and Engineering",
    "19": "Life, Physical, and Social Science",
    "21": "Community and Social Service",
    "23": "Legal",
    "25": "Educational Instruction and Library",
    "27": "Arts, Design, Entertainment, Sports, and Media",
    "29": "Healthcare Practitioners and Technical",
    "31": "Healthcare Support",
    "33": "Protective Service",
    "35": "Food Preparation and Serving Related",
    "37": "Building and Grounds Cleaning and Maintenance",
    "39": "Personal Care and Service",
    "41": "Sales and Related",
    "43": "Office and Administrative Support",
    "45": "Farming, Fishing, and Forestry",
    "47": "Construction and Extraction",
    "49": "Installation, Maintenance, and Repair",
    "51": "Production",
    "53": "Transportation and Material Moving",
    "55": "Military Specific",
}


def employment_of(counts: Mapping[str, float], codes: Sequence[str]) -> list[float]:
    """Employed people of O*NET-SOC occupations, from counts by codes of 8 or of 6 digits.

    Of a count by 6 digits the general occupation, which ends in .00, has as much as its specialties
    together; without a general one they share alike.

    Raises:
        ValueError: a count is no number from zero, or none is of these occupations.
    """
    for code, count in counts.items():
        if not (isinstance(count, int | float) and 0 <= count < math.inf):
            raise ValueError(f"employment of {code} is {count!r}, but must be a number from 0")
    parts: dict[str, float] = defaultdict(float)
    for code in codes:
        parts[code[: DIGITS[6]]] += not code.endswith(".00")
    employed = []
    for code in codes:
        soc = code[: DIGITS[6]]
        share = max(parts[soc], 1) if code.endswith(".00") else 1
        all_shares = parts[soc] + (f"{soc}.00" in codes) * max(parts[soc], 1)
        employed.append(float(counts.get(code, counts.get(soc, 0) * share / all_shares)))
    if counts and not any(employed):
        raise ValueError("employment: no code is an O*NET-SOC or SOC 2018 one with people in it")
    return employed


def group_code(code: str, digits: int) -> str:
    """The code of an occupation's group as SOC tables have it: 29-1141, 29-1000 or 29-0000."""
    prefix = code[: DIGITS[digits]]
    if digits == 3:
        return MINOR_GROUPS.get(prefix, f"{prefix}000")
    return f"{prefix}-0000" if digits == 2 else prefix


def major_group_title(code: str) -> str:
    return MAJOR_GROUPS.get(code[: DIGITS[2]], "")
