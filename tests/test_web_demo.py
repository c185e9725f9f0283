"""The page of examples/web_demo.py in a headless browser, with the model that the project ships."""

import csv
import gzip
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import openpyxl
import pytest
from conftest import PROJECT

pytest.importorskip("gradio", reason="the page needs Gradio: pip install gradio")
pytest.importorskip("selenium", reason="the page is tested with Selenium: pip install selenium")

from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
PATIENCE = 120  # seconds; a page on a busy machine takes a few
DESKTOP, PHONE = (1100, 900), (390, 844)
EVIL = "<img src=x onerror=alert(1)> ${alert(2)} {{alert}} **bold**"  # shown as it stands, or run

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER),
    reason="needs chromium and chromedriver: apt install chromium chromium-driver",
)


@pytest.fixture(scope="module")
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """What the server prints on standard error."""
    return tmp_path_factory.mktemp("web_demo") / "stderr.txt"


@pytest.fixture(scope="module")
def server(port, log):
    """Address of the page, started as a user does."""
    (log.parent / "own.tsv").write_text(f"title\tcode\n{EVIL}\t29-1141.03\n")
    command = [
        sys.executable, "examples/web_demo.py", "--port", str(port),
        "--data-dir", str(log.parent), "--own-titles", str(log.parent / "own.tsv"),
    ]  # fmt: skip
    environment = os.environ | {"TMPDIR": str(log.parent), "PYTHONUNBUFFERED": "1"}
    with (
        open(log, "w") as errors,
        subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert any("Running on" in line for line in process.stdout), log.read_text()
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def downloads(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads, tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    with webdriver.Chrome(options, webdriver.ChromeService(CHROMEDRIVER)) as driver:
        yield driver


class Page:
    """The page as its user sees it."""

    def __init__(self, browser: webdriver.Chrome, address: str, size: tuple[int, int]) -> None:
        self.browser = browser
        width, height = size
        screen = {"width": width, "height": height, "mobile": size == PHONE}
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", screen | {"deviceScaleFactor": 1}
        )
        browser.get(address)
        self.find("//button[normalize-space()='Code this job']")

    def find(self, xpath: str):
        """The first element of this path that can be seen, waited for."""

        def seen(browser):
            return [
                element
                for element in browser.find_elements(By.XPATH, xpath)
                if element.is_displayed()
            ]

        return WebDriverWait(
            self.browser, PATIENCE, ignored_exceptions=[StaleElementReferenceException]
        ).until(seen, f"nothing to be seen of {xpath}")[0]

    def press(self, name: str) -> None:
        self.find(f"//button[normalize-space()='{name}']").click()

    def type(self, label: str, text: str) -> None:
        field = self.find(
            f"//label[span[normalize-space()='{label}']]//textarea | "
            f"//input[contains(@aria-label, '{label}')]"
        )
        field.send_keys(Keys.CONTROL, "a", Keys.NULL, text or Keys.BACKSPACE)

    def pick(self, label: str, option: str) -> None:
        self.type(label, option + Keys.ENTER)

    def picked(self, label: str) -> str:
        return self.find(f"//input[@aria-label='{label}']").get_property("value")

    def upload(self, path: Path) -> None:
        self.press("A table")
        self.browser.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(path))
        self.find(f"//*[@aria-label='{path.name}']")
        # Once its columns are known, or the reason why not, there is "none" to be picked
        WebDriverWait(self.browser, PATIENCE).until(lambda _: self.picked("Industry column"))

    def overflows(self) -> bool:
        """Whether the page is wider than its window."""
        return self.browser.execute_script(
            "return document.documentElement.scrollWidth > window.innerWidth"
        )

    def error(self) -> str:
        return self.find("//*[@data-testid='toast-text']").text

    def result(self) -> list[str]:
        """Lines of the result, once there is one."""
        field = self.find("//label[span[normalize-space()='Result']]//textarea")
        return (
            WebDriverWait(self.browser, PATIENCE)
            .until(lambda _: field.get_property("value"))
            .split("\n")
        )


@pytest.fixture
def page(browser, server):
    return Page(browser, server, DESKTOP)


@pytest.fixture
def phone(browser, server):
    return Page(browser, server, PHONE)


def table(path: Path, rows: list[list[str]]) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def downloaded(folder: Path, name: str) -> Path:
    """A file, once the browser has written all of it."""
    return WebDriverWait(None, PATIENCE).until(lambda _: (folder / name).exists() and folder / name)


# ------------------------------------------------------------------------------ one job


def test_job_is_answered_with_levels_and_evidence(page):
    page.type("Job title", "ICU Nurse")
    page.type(
        "Job description (optional)", "Care for critically ill patients.\nMonitor ventilators."
    )
    page.press("Code this job")
    assert page.find("//tr[td='29-1141.03']").text.startswith("1 29-1141.03 Critical Care Nurses")
    levels = {
        "Major group": "29-0000 Healthcare Practitioners and Technical",
        "Minor group": "29-1000 Healthcare Diagnosing or Treating Practitioners",
        "Broad group": "29-1140 Registered Nurses",
        "SOC": "29-1141 Registered Nurses",
        "O*NET-SOC": "29-1141.03 Critical Care Nurses",
    }
    for level, group in levels.items():
        assert page.find(f"//tr[td='{level}']").text == f"{level} {group}"
    assert not page.browser.find_elements(By.XPATH, "//summary[starts-with(., 'What was read')]")
    assert page.find("//details[@open]//tr[td='label']").text.startswith(
        "label Critical Care Nurses"
    )


def test_as_many_answers_as_asked_for(page):
    page.type("Job title", "ICU Nurse")
    page.type("Number of answers (top-k)", "2")
    page.press("Code this job")
    page.find("//tr[td='29-1141.03']")
    assert len(page.browser.find_elements(By.TAG_NAME, "details")) == 2


def test_blank_title_is_told_without_a_traceback(page, log):
    page.type("Job title", " ")
    page.press("Code this job")
    assert page.error() == "the job title is empty"
    assert "Traceback" not in page.browser.page_source + log.read_text()


def test_texts_are_shown_as_they_are(page):
    page.type("Job title", EVIL)
    page.press("Code this job")
    assert EVIL in page.find("//details[@open]//tr[td='title']").text
    assert page.find("//h4").text == EVIL
    assert not page.browser.find_elements(By.CSS_SELECTOR, "h4 img, details img")


@pytest.mark.parametrize("field", ["Job title", "Job description (optional)"])
@pytest.mark.parametrize("text", ["", "Baker"])
def test_answers_go_when_the_job_changes(page, field, text):
    page.type("Job title", "ICU Nurse")
    page.type("Job description (optional)", "Monitor ventilators.")
    page.press("Code this job")
    page.find("//tr[td='29-1141.03']")
    page.type(field, text)
    page.find("//*[text()='The answers will appear here.']")
    assert not page.browser.find_elements(By.TAG_NAME, "tr")


def test_what_was_read_is_told_where_it_is_not_all(page):
    page.type("Job title", "Warehose Worker")
    page.type("Job description (optional)", "Load trucks. " + 30 * "We offer a great salary. ")
    page.press("Code this job")
    page.find("//summary[.='What was read of the job']").click()
    quotes = "//details[summary='What was read of the job']/blockquote"
    assert page.find(f"{quotes}[1]").text == "warehouse Worker"
    assert page.find(f"{quotes}[2]").text.startswith("Load trucks. We offer a great salary.")
    assert page.find("//p[contains(., ' of 152 words')]")


def test_what_is_no_occupation_is_told_with_the_reason(page):
    page.type("Job title", "retired")
    page.press("Code this job")
    assert page.find("//p[b]").text.startswith(
        "Not coded. This is no occupation: no job is told: out of work, retired"
    )


def test_job_is_coded_on_a_phone(phone):
    assert not phone.overflows()
    phone.type("Job title", "ICU Nurse")
    phone.press("Code this job")
    assert phone.find("//tr[td='29-1141.03']").text == "29-1141.03 Critical Care Nurses 99.3 %"
    assert not phone.overflows()
    phone.type("Job title", 40 * "Nurse")
    phone.press("Code this job")
    phone.find("//h4")
    assert not phone.overflows()


# ------------------------------------------------------------------------------ a table


def test_table_is_coded_and_downloaded(page, tmp_path, downloads):
    page.upload(
        table(tmp_path / "jobs.csv", [["id", "job"], ["7", "ICU Nurse"], ["8", ""], ["9", EVIL]])
    )
    page.type("Answers per row (top-k)", "1")
    page.type("Least confidence (0: off)", "0.5")
    page.find("//label[span='SOC groups of the first answer']/input").click()
    page.press("Code this table")
    assert page.result() == [
        "jobs.csv: titles in column 'job', no descriptions",
        "2 of 3 rows coded",
        "        1 not coded: the job title is empty",
    ]
    assert page.find("//*[starts-with(text(), '<img')]").text == EVIL

    page.press("Download jobs.coded.csv")
    with open(downloaded(downloads, "jobs.coded.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["job"], row["soc_code_1"]) for row in rows] == [
        ("7", "ICU Nurse", "29-1141.03"), ("8", "", ""), ("9", EVIL, "29-1141.03"),
    ]  # fmt: skip
    assert {"soc_confidence_1", "soc_review", "soc_minor_group", "soc_problem"} <= rows[0].keys()
    assert "soc_code_2" not in rows[0]


def test_workbook_is_coded_on_a_phone(phone, tmp_path, downloads):
    book = openpyxl.Workbook()
    for row in (["Job Title", "Duties", "id"], ["ICU Nurse", "Monitor ventilators.", 7]):
        book.active.append(row)
    book.save(tmp_path / "jobs.xlsx")
    phone.upload(tmp_path / "jobs.xlsx")
    assert not phone.overflows()
    phone.press("Code this table")
    assert phone.result() == [
        "jobs.xlsx: titles in column 'Job Title', descriptions in 'Duties'",
        "1 of 1 rows coded",
    ]
    phone.press("Download jobs.coded.xlsx")
    assert not phone.overflows()
    header, row = openpyxl.load_workbook(downloaded(downloads, "jobs.coded.xlsx")).active.values
    coded = dict(zip(header, row, strict=True))
    assert (coded["id"], coded["soc_code_1"]) == (7, "29-1141.03")


def test_columns_are_picked(page, tmp_path):
    packed = gzip.compress(b"Stelle,description,Branche\nManager,Fries fish.,Hotel\n")
    (tmp_path / "jobs.csv.gz").write_bytes(packed)
    page.upload(tmp_path / "jobs.csv.gz")
    assert page.result() == ["jobs.csv.gz: choose the column of titles"]
    assert page.picked("Title column") == ""
    assert page.picked("Description column") == "description"
    page.press("Code this table")
    assert page.error() == "choose a file and its column of titles first"
    page.pick("Title column", "Stelle")
    page.pick("Description column", "none")
    page.pick("Industry column", "Branche")
    page.press("Code this table")
    page.find("//button[normalize-space()='Download jobs.coded.csv.gz']")
    told = "titles in column 'Stelle', industries in 'Branche', no descriptions"
    assert page.result() == [f"jobs.csv.gz: {told}", "1 of 1 rows coded"]
    assert page.find("//*[text()='Hotel Manager']")

    # Another file has columns of its own, and no results yet
    page.find("//button[@aria-label='Clear']").click()
    page.upload(table(tmp_path / "other.csv", [["title"], ["RN"]]))
    WebDriverWait(page.browser, PATIENCE).until(lambda _: page.picked("Title column") == "title")
    assert not page.browser.find_elements(By.XPATH, "//button[contains(., 'Download')]")


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("jobs.xlsx", "title\nRN\n", "jobs.xlsx cannot be read: File is not a zip file"),
        ("jobs.csv", "title\n", "jobs.csv has no rows"),
    ],
)
def test_file_that_cannot_be_read_is_named_with_the_reason(page, tmp_path, name, content, line):
    (tmp_path / name).write_text(content)
    page.upload(tmp_path / name)
    assert page.result() == [line]
    page.press("Code this table")
    assert page.error() == "choose a file and its column of titles first"


def test_table_that_cannot_be_coded_is_named_with_the_reason(page, tmp_path):
    page.upload(table(tmp_path / "jobs.csv", [2 * ["<b>job</b>"], ["ICU Nurse", "RN"]]))
    page.pick("Title column", "<b>job</b>")
    page.press("Code this table")
    both = "'<b>job</b>', '<b>job</b>'"
    assert page.error().startswith(f"jobs.csv has several columns for the title, {both}: ")


def test_table_has_to_be_chosen(page):
    page.press("A table")
    page.press("Code this table")
    assert page.error() == "choose a file and its column of titles first"


# ------------------------------------------------------------------------------ network


def test_server_listens_on_loopback_only(server, port):
    socket.create_connection(("127.0.0.1", port)).close()
    with pytest.raises(OSError):  # on Linux, a server on all interfaces would answer here
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_page_loads_nothing_from_elsewhere(page):
    loaded = page.browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    assert loaded
    assert all(address.startswith(page.browser.current_url) for address in loaded)
