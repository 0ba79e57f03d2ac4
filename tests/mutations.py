"""Breaking good inputs at random: bytes, nested plain data, and text. The same seed breaks them in the same way."""

import copy
from collections.abc import Iterator
from random import Random

STRANGE = (
    None,
    True,
    -1,
    0,
    1e308,
    float("nan"),
    10**30,
    "",
    "\0",
    "nonsense",
    "../../etc",
    [],
    [[]],
    {},
    {"a": 1},
    [1, 2],
)
"""Values that are wrong nearly everywhere."""


def broken_bytes(content: bytes, random: Random) -> bytes:
    """A file's content after an accident."""
    length = len(content)
    start = random.randrange(length)
    accidents = [
        lambda: content[: random.randrange(length)],  # cut short
        lambda: content[start:],  # without its beginning
        lambda: content[:start] + random.randbytes(random.randint(1, 64)) + content[start + 64 :],  # overwritten
        lambda: content[:start] + bytes(min(256, length - start)) + content[start + 256 :],  # a block of zeros
        lambda: content[:start] + content[start // 2 :],  # a piece twice
        lambda: bytes(byte ^ (random.random() < 0.02) * random.randrange(256) for byte in content),  # noise
        lambda: random.randbytes(32) + content[32:],  # another beginning
        lambda: content.replace(b"\n", b"\r\n"),  # transferred as text
    ]
    return random.choice(accidents)()


def broken_data(data: object, random: Random) -> object:
    """Nested plain data with one wrong value, one key missing, or one too many."""
    broken = copy.deepcopy(data)
    places = list(_places(broken))
    holder, key = random.choice(places)
    kind = random.choice(("replace", "replace", "drop", "add", "wrap"))
    if kind == "replace":
        holder[key] = random.choice([value for value in STRANGE if value != holder[key]])
    elif kind == "drop":
        del holder[key]
    elif kind == "wrap":
        holder[key] = [holder[key]]
    elif isinstance(holder, dict):
        holder[f"{key}s"] = holder[key]
    else:
        holder.append(random.choice(STRANGE))
    return broken


def broken_text(text: str, random: Random) -> str:
    """A text file after a slip of the keyboard."""
    place = random.randrange(len(text))
    slips = [
        lambda: text[:place] + random.choice("[]{}:,-\"'&*!|>%@`\t\0#") * random.randint(1, 3) + text[place:],
        lambda: text[:place],
        lambda: "\n".join(random.sample(text.split("\n"), len(text.split("\n")))),
        lambda: text.replace(": ", random.choice((":", " = ", ":: ")), random.randint(1, 5)),
        lambda: text.replace("  ", "\t", random.randint(1, 3)),
        lambda: text + text,
    ]
    return random.choice(slips)()


def _places(data: object) -> Iterator[tuple[object, object]]:
    """Every dictionary or list in nested data with every key of it."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in list(items):
        yield data, key
        yield from _places(value)
