"""A component of the distribution that the host's own sources leave out: the same mirrors, trusted the same way.

NVIDIA's packages for Debian depend on packages of its component `contrib`, which a fresh Debian does not ask for.
Pure text. Standard library, Python >= 3.8.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, Sequence, Tuple

Entry = Dict[str, str]  # a deb822 stanza: field, in its usual spelling, to its value

# apt refuses a repository that two sources trust in different ways, so whatever says how is kept as it is
_OPTIONS = {
    "arch": "Architectures",
    "signed-by": "Signed-By",
    "trusted": "Trusted",
    "check-valid-until": "Check-Valid-Until",
    "allow-insecure": "Allow-Insecure",
}
_NEEDED = ("URIs", "Suites", "Components")
_KEPT = ("URIs", "Suites", "Architectures", "Signed-By", "Trusted", "Check-Valid-Until", "Allow-Insecure")


def added(texts: Mapping[str, str], codename: str, components: Sequence[str]) -> str:
    """A `.sources` file that adds the components to the distribution's own sources, "" where none is missing.

    `texts` are the host's source files by path; `codename` is the release, `bookworm`.
    """
    own = [one for path, text in texts.items() for one in entries(path, text) if _own(one, codename)]
    there = {word for one in own if codename in one["Suites"].split() for word in one["Components"].split()}
    missing = [name for name in components if name not in there]
    if not missing:
        return ""
    found: List[str] = []
    for one in own:
        if "main" in one["Components"].split():
            rows = ["Types: deb", *("%s: %s" % (name, one[name]) for name in _KEPT if one.get(name))]
            stanza = "\n".join([*rows, "Components: %s" % " ".join(missing)]) + "\n"
            found += [stanza] if stanza not in found else []
    return "\n".join(found)


def entries(path: str, text: str) -> Iterator[Entry]:
    """The sources of binary packages that are switched on, of a file in either form."""
    for one in _stanzas(text) if path.endswith(".sources") else _lines(text):
        on = one.get("Enabled", "yes").lower() not in ("no", "false", "0")
        if on and "deb" in one.get("Types", "").split() and all(one.get(name) for name in _NEEDED):
            yield one


def _own(one: Entry, codename: str) -> bool:
    """Of the distribution itself, and not a stranger's repository for it."""
    suites = one["Suites"].split()
    return "debian" in one["URIs"].lower() and all(
        suite == codename or suite.startswith((codename + "-updates", codename + "-security")) for suite in suites
    )


def _lines(text: str) -> Iterator[Entry]:
    """`deb [option=value] address suite component ...`"""
    for line in text.splitlines():
        kind, _, rest = line.split("#", 1)[0].strip().partition(" ")
        options, rest = _options(rest.strip())
        words = rest.split()
        if kind == "deb" and len(words) > 2:
            yield {**options, "Types": kind, "URIs": words[0], "Suites": words[1], "Components": " ".join(words[2:])}


def _options(rest: str) -> Tuple[Entry, str]:
    if not rest.startswith("["):
        return {}, rest
    inside, _, after = rest[1:].partition("]")
    pairs = [word.split("=", 1) for word in inside.split() if "=" in word]
    return {_OPTIONS[name]: value.replace(",", " ") for name, value in pairs if name in _OPTIONS}, after


def _stanzas(text: str) -> Iterator[Entry]:
    """A key that is written out below `Signed-By:` is several lines, and stays so."""
    names = {name.lower(): name for name in ("Types", "Enabled", "Components", *_KEPT)}
    one: Entry = {}
    last = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if one:
                yield one
            one, last = {}, ""
        elif line[0] in " \t":
            if last:
                one[last] += "\n" + line
        else:
            name, _, value = line.partition(":")
            last = names.get(name.strip().lower(), "")
            if last:
                one[last] = value.strip()
