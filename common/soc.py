"""SOC groups: how many digits they have, their codes and names (SOC 2018, bls.gov/soc/2018)."""

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


def group_code(code: str, digits: int) -> str:
    """The code of an occupation's group as SOC tables have it: 29-1141, 29-1000 or 29-0000."""
    prefix = code[: DIGITS[digits]]
    if digits == 3:
        return MINOR_GROUPS.get(prefix, f"{prefix}000")
    return f"{prefix}-0000" if digits == 2 else prefix


def major_group_title(code: str) -> str:
    return MAJOR_GROUPS.get(code[: DIGITS[2]], "")
