"""The text of a table: its encoding, what parts its cells, its comments; and its rows, by the `csv` module."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from diabolo.datasets._csv_cells import is_number
from diabolo.errors import DataError, short

__all__ = ["BLANKS", "TextForm", "TextTable", "encoding_of", "find_form", "western"]

LONGEST = 2**26  # characters of a line
_NONE = "\x1f"  # the separator of a single column
BLANKS = " "  # the separator of cells that any number of blanks and tabs part
_HEAD, _HEAD_SIZE = 64, 2**20  # lines and characters from which the form is told
_WORDS = {"tab": "\t", "\\t": "\t", "blanks": BLANKS}
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_SEP = re.compile(r'"?sep=(.|\\t)"?\s*', re.IGNORECASE)
_SYMBOLS = "°µ²³±€£·–—‘’“”…™©®½¼¾\u00a0"


@dataclass(frozen=True)
class TextForm:
    """The form of a text table.

    Attributes:
        encoding: of its characters.
        separator: of its cells; a blank stands for any number of blanks and tabs.
        skip: lines before its first row that are none.
        sign: what comments begin with; empty where no line is one.
        names: the cells of a comment right above the first row, where they are as many: they may be names.
        notes: what was guessed.
    """

    encoding: str
    separator: str
    skip: int = 0
    sign: str = "#"
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class TextTable:
    """The rows of a text table; each iteration reads the file anew.

    Attributes:
        comments: lines that were left out by the last iteration, since they begin with the sign of comments.
        rows: lines that begin with it and were none, since they have as many cells as the others.
        empty: rows of separators alone, which were left out as well.
    """

    def __init__(self, path: Path, form: TextForm) -> None:
        self.path, self.form = path, form
        self.width = 0  # where lines of so many cells are no comments
        self.comments = self.rows = self.empty = self.line = 0

    def __iter__(self) -> Iterator[list[str]]:
        """The cells of each row that is not blank; `line` is then the number of its last line.

        Raises:
            UnicodeError: it is not of this encoding.
            csv.Error: it is no text.
        """
        self.comments = self.rows = self.empty = self.line = 0
        with self.path.open(newline="", encoding=self.form.encoding) as stream:
            for row in _reader(self._lines(stream), self.form.separator):
                if any(map(str.strip, row)):
                    yield row
                else:
                    self.empty += len(row) > 1

    def _lines(self, stream: TextIO) -> Iterator[str]:
        is_quoted = False  # whether the last cell goes on in the next line
        for self.line, line in enumerate(_bounded(stream), 1):
            if self.line <= self.form.skip:
                continue
            if self.form.sign and not is_quoted and line.startswith(self.form.sign):
                if self._is_comment(line):
                    self.comments += 1
                    continue
                self.rows += 1
            if '"' in line:
                is_quoted ^= line.count('"') % 2 == 1
            yield line

    def _is_comment(self, line: str) -> bool:
        return not self.width or len(next(_reader([line], self.form.separator), [])) != self.width


def encoding_of(path: Path) -> tuple[str, tuple[str, ...]]:
    """The encoding that a file says by its first bytes, UTF-8 where it says none, and a note."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    encoding = next((name for mark, name in _BOMS if head.startswith(mark)), None)
    if encoding is None and len(head) > 3:
        zeros = [head[start::2].count(0) / len(head[start::2]) for start in (0, 1)]
        encoding = (
            "utf-16-be" if zeros[0] > 0.4 > 4 * zeros[1] else "utf-16-le" if zeros[1] > 0.4 > 4 * zeros[0] else None
        )
    if encoding in (None, "utf-8-sig"):
        return "utf-8-sig", ()
    return str(encoding), (f"{str(encoding)[:6].upper()} text (encoding= names another encoding)",)


def western(path: Path) -> tuple[str, tuple[str, ...]]:
    """cp1252 for a file that is not UTF-8, where all that is not ASCII is a letter in a word, or a usual symbol.

    Raises:
        DataError: it may be of many encodings.
    """
    example, first = "", ""
    with path.open("rb") as stream:
        while line := stream.readline(LONGEST):
            if line.isascii():
                continue
            text = line.decode("cp1252", "replace")
            first = first or text.strip()
            for word in re.findall(r'[^\s,;|"]+', text):
                if word.isascii():
                    continue
                if not _is_western(word):
                    raise DataError(
                        f"{path} is not UTF-8 text ({short(text.strip()[:40])} as cp1252). Save it as UTF-8, or name "
                        "its encoding: encoding='cp1251' or 'gbk' for example (--encoding)."
                    )
                example = example or word
    return "cp1252", (
        f"not UTF-8: read as cp1252, in which it says {short((example or first)[:40])} (encoding= names another)",
    )


def _is_western(word: str) -> bool:
    """Whether a word that was decoded as cp1252 looks like one: é in a word of ASCII letters, or 20 °C."""
    for run in re.finditer(r"[^\x00-\x7f]+", word):
        around = word[max(0, run.start() - 1) : run.start()] + word[run.end() : run.end() + 1]
        letters = run[0].strip(_SYMBOLS)
        in_word = len(letters) <= 2 and all("À" <= a <= "ÿ" and a not in "×÷" for a in letters)
        touches = any(a.isascii() and a.isalpha() for a in around)
        if letters and not (in_word and touches):
            return False
    return True


def find_form(
    path: Path,
    encoding: str,
    separator: str | None = None,
    decimal: str | None = None,
    comments: str | None = None,
) -> TextForm:
    """The form of a text table, told from its first lines.

    Args:
        path: of the file.
        encoding: of its characters.
        separator: of its cells, where the user says it: a character, or tab or blanks.
        decimal: the decimal mark, where the user says it.
        comments: what comments begin with, or none, where the user says it.
    """
    sign = "" if comments == "none" else comments or "#"
    with path.open(newline="", encoding=encoding) as stream:
        head = _head(stream, sign)
    marker, notes = _SEP.fullmatch(head[0]) if head else None, []
    if marker is not None:
        if separator is None:
            separator = marker[1]
            notes.append(f"the first line, {head[0].strip()}, names the separator (separator= names another)")
        head = head[1:]
    head = [line for line in head if line.strip()]
    if comments is None and all(line.startswith(sign) for line in head):
        sign = ""
    lines = [line for line in head if not (sign and line.startswith(sign))]
    if not lines:
        return TextForm(encoding, ",", sign=sign)
    first = head.index(lines[0])
    if separator is None:
        separator = _separator(lines, decimal)
        if separator in ("|", BLANKS):
            words = "blanks" if separator == BLANKS else f"{separator!r}"
            notes.append(f"cells are parted by {words} (separator= names another)")
    separator = _WORDS.get(separator, separator)
    above = _cells([head[first - 1].lstrip(sign)], separator) if first else [[]]
    width = len(_cells(lines[:1], separator)[0])
    names = tuple(above[0]) if above and len(above[0]) == width else ()
    return TextForm(encoding, separator, int(marker is not None), sign, names, tuple(notes))


def _head(stream: TextIO, sign: str) -> list[str]:
    """The first lines, of which comments count only by their characters."""
    head: list[str] = []
    rows = size = 0
    for line in _bounded(stream):
        head.append(line)
        rows, size = rows + (not sign or not line.startswith(sign)), size + len(line)
        if rows == _HEAD or (len(head) > 2 and size > _HEAD_SIZE):
            break
    return head


def _separator(lines: Sequence[str], decimal: str | None) -> str:
    """What parts the cells: the mark that gives rows of one length, then numbers, then most cells."""
    known = ";\t|" if decimal == "," else ",;\t|"
    marks = [mark for mark in known if mark in lines[0]]
    if len(marks) == 1 or sum(map(len, lines)) > 2 * _HEAD_SIZE:
        return max(known, key=lines[0].count)
    best, chosen = (0.0, 0.0, 0), _NONE if decimal == "," else ","
    for mark in marks or [BLANKS, _NONE]:
        rows = [row for row in _cells(lines, mark) if row]
        full, trimmed = (Counter(len(row) - cut * (not row[-1].strip()) for row in rows) for cut in (0, 1))
        width, count = max(full.most_common(1)[0], trimmed.most_common(1)[0], key=lambda pair: pair[1])
        body = [cell for row in rows[1:] or rows for cell in row]
        numbers = sum(is_number(cell) or not cell.strip() for cell in body) / len(body)
        is_even = count == len(rows) or (
            count == len(rows) - 1 and len(rows[0]) == width - 1
        )  # names of rows have none
        is_alone = numbers == 1 and (decimal == "," or not any("," in line for line in lines))
        is_safe = is_even and (is_alone if mark == _NONE else numbers > 0 and width > 1)
        score = (count / len(rows), numbers, width)
        if score > best and (is_safe or mark not in (BLANKS, _NONE)):
            best, chosen = score, mark
    return chosen


def _cells(lines: Sequence[str], separator: str) -> list[list[str]]:
    return list(_reader(lines, separator)) or [[]]


def _reader(lines: Iterator[str] | Sequence[str], separator: str) -> Iterator[list[str]]:
    if separator == BLANKS:
        lines = (line.replace("\t", " ").strip() + "\n" for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _bounded(stream: TextIO) -> Iterator[str]:
    """The lines of a text, none of which takes more memory than a row can need."""
    while line := stream.readline(LONGEST):
        if len(line) == LONGEST:
            raise csv.Error(f"a line has more than {LONGEST:,} characters")
        yield line
