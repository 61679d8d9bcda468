"""The documents speak of what is there: files, commands, lines of code; and both languages say the same."""

import importlib
import re
import shlex
import textwrap
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest

from catdog.cli.main import build_parser
from catdog.config.schema import fields
from catdog.errors import CatdogError

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "catdog" / "trained" / "README.md"])
PAIRS = [(ROOT / "README.md", ROOT / "README.zh-CN.md")]
PAIRS += [(ROOT / "docs" / f"{page}.md", ROOT / "docs" / f"{page}.zh-CN.md") for page in ("how-it-works", "page")]
PICTURES = ROOT / "docs" / "pictures"

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_IN_FILE = re.compile(r"`([\w.]+)`(?: and `([\w.]+)`)?,? in\s\[?(catdog/[\w/]+\.py)")
_IN_FILE_CHINESE = re.compile(r"(catdog/[\w/]+\.py)(?:\]\([^)]*\))? 里的 `([\w.]+)`(?: 和 `([\w.]+)`)?")
_PATH = re.compile(r"(?<![\w/.-])(?:catdog|configs|docs|scripts|tests)/[\w./-]*\w")
_PROGRAM = re.compile(r"(?:catdog|python3? scripts/\w+\.py|torchrun .*?scripts/\w+\.py)(?= |$)")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def targets(text: str) -> list[str]:
    """What a page links to or shows, but for the web."""
    return [target.partition("#")[0] for target in _LINK.findall(text) if "://" not in target]


def commands(text: str) -> Iterator[str]:
    """The project's own commands that a page quotes, in blocks and within lines, without the comments after them."""
    code = [line for kind, block in _FENCED.findall(text) if kind == "sh" for line in block.splitlines()]
    text = _FENCED.sub("", text)
    code += re.findall(r"^    (.*)", text, re.MULTILINE)
    code += re.findall(r"`([^`\n]+)`", text)
    for line in code:
        for part in line.replace(r"\|", "|").split(" && "):
            if _PROGRAM.match(part) and "VERB" not in part:
                yield re.split(r" +# | [<>] ", part)[0].strip()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    missing = [target for target in targets(read(page)) if target and not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_in_the_prose_is_there(page: Path) -> None:
    paths = _PATH.findall(_FENCED.sub("", read(page)))
    assert not [path for path in paths if "VERB" not in path and not (ROOT / path).exists()]


def names_in_files(text: str) -> list[tuple[str, str]]:
    """What a page says to be defined in which file: ("catdog/trainer/loop.py", "Trainer.fit"), ..."""
    found = [(file, each) for *names, file in _IN_FILE.findall(text) for each in names if each]
    return found + [(file, each) for file, *names in _IN_FILE_CHINESE.findall(text) for each in names if each]


def is_defined(dotted: str, file: str) -> bool:
    """Whether a name such as `Trainer.fit` is there in that file, and not imported from another."""
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    try:
        found = attrgetter(dotted)(module)
    except AttributeError:
        return False
    return getattr(found, "__module__", module.__name__) == module.__name__


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_name_is_in_the_file_that_it_is_said_to_be_in(page: Path) -> None:
    assert not [(file, found) for file, found in names_in_files(read(page)) if not is_defined(found, file)]


@pytest.mark.parametrize(
    "sentence",
    [
        "`Trainer.train_step` in [catdog/trainer/loop.py](catdog/trainer/loop.py)",
        "`softmax` in catdog/predict.py",
        "[catdog/predict.py](../catdog/predict.py) 里的 `softmax`",
    ],
)
def test_a_name_that_is_elsewhere_would_be_noticed(sentence: str) -> None:
    ((file, found),) = names_in_files(sentence)
    assert not is_defined(found, file)


def test_every_picture_is_shown_and_small() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for target in targets(read(page))}
    sizes = {path: path.stat().st_size for path in PICTURES.iterdir()}
    assert set(sizes) <= shown
    assert max(sizes.values()) < 200_000
    assert sum(sizes.values()) < 1_500_000


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_is_one_that_the_program_takes(page: Path) -> None:
    for command in commands(read(page)):
        check(command)


def check(command: str) -> None:
    """Raise CatdogError or AssertionError for a verb, flag or script that is not there."""
    program = _PROGRAM.match(command)
    assert program is not None
    rest = command[program.end() :]
    script = re.search(r"scripts/(\w+)\.py", program[0])
    if script is not None:
        path = ROOT / "scripts" / f"{script[1]}.py"
        assert path.is_file(), command
        if "catdog.cli.main" not in read(path):
            # Its own flags, those of its parts, and those of `catdog train`, which it may hand on.
            source = read(path) + "".join(map(read, path.parent.glob("*/*.py")))
            known = {"--config", *(field.flag for field in fields().values())}
            assert all(flag in known or f'"{flag}"' in source for flag in re.findall(r"--[\w-]+", rest)), command
            return
        rest = f" {script[1]}{rest}"
    if not rest:  # the program as such
        return
    # As in a synopsis: what may be left out is given, of what is on either side of a bar the first is taken.
    words = [word.partition("|")[0] for word in shlex.split(re.sub(r"[\[\]]|\.\.\.", " ", rest))]
    numbers = {"N": "1", "H": "32", "W": "32", "X": "0.5", "P": "0.5"}
    words = [numbers.get(word, word) for word in words]
    try:
        _, unknown = build_parser().parse_known_args(words)
    except CatdogError as error:
        if "the following arguments are required" not in str(error):  # a sentence may name a verb alone
            raise AssertionError(f"{command}: {error}") from None
        unknown = []
    except SystemExit as left:  # --help
        unknown = [] if left.code == 0 else words
    assert not unknown, f"{command}: there is no {unknown[0]}"


@pytest.mark.parametrize(
    "command",
    [
        "catdog trian",
        "catdog train --epoch 3",
        "catdog demo colour",
        "python scripts/pictures.py --fast",
        "catdog data x",
    ],
)
def test_a_command_that_is_not_there_would_be_noticed(command: str) -> None:
    (found,) = commands(f"Try `{command}` now.")
    with pytest.raises(AssertionError):
        check(found)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_quoted_line_of_code_is_in_the_file_named_before_it(page: Path) -> None:
    text = read(page)
    for block in _FENCED.finditer(text):
        if block[1] == "python":
            *_, source = (target for target in targets(text[: block.start()]) if target.endswith(".py"))
            assert quoted_from(block[2], read(page.parent / source)), f"{source} no longer holds:\n{block[2]}"


def quoted_from(quotation: str, source: str) -> bool:
    """Whether the lines stand in the source one after the other, further in or not."""
    wanted, lines = quotation.splitlines(), source.splitlines()
    return any(textwrap.dedent("\n".join(lines[i : i + len(wanted)])) == "\n".join(wanted) for i in range(len(lines)))


def structure(text: str) -> dict[str, list[str]]:
    """What a page and its translation have in common, each in order."""
    blocks = [block for kind, block in _FENCED.findall(text)]
    prose = _FENCED.sub("", text)
    return {
        "blocks": blocks,
        "names": [f"{found} in {file}" for file, found in names_in_files(text)],
        "quotations": re.findall(r"<!-- .*? -->", text),
        "commands": list(commands(text)),
        "indented": [line.split("#")[0].rstrip() for line in re.findall(r"^    (.*)", prose, re.MULTILINE)],
        "headings": re.findall(r"^#+(?= )", prose, re.MULTILINE),
        "rows": [str(row.replace(r"\|", "").count("|")) for row in re.findall(r"^\|.*", prose, re.MULTILINE)],
        "pictures": [target for target in targets(text) if "pictures/" in target],
    }


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=["README", "how-it-works", "page"])
def test_the_chinese_page_says_what_the_english_one_does(english: Path, chinese: Path) -> None:
    ours, theirs = structure(read(english)), structure(read(chinese))
    for part, found in ours.items():
        assert theirs[part] == found, part
    links = [
        sorted(
            target.replace(".zh-CN", "") for target in targets(read(page)) if target not in (english.name, chinese.name)
        )
        for page in (english, chinese)
    ]
    assert links[0] == links[1]
    figures = [sorted(set(re.findall(r"\d[\d,.]*\d%?", _FENCED.sub("", read(page))))) for page in (english, chinese)]
    assert set(figures[0]) - set(figures[1]) <= {"144"}  # 144 million are 1.44 亿
    assert chinese.name in targets(read(english)) and english.name in targets(read(chinese))
