"""Decodes and encodes field blocks with Python's hpack, one line of output per line of input.

A line is a sequence that shares one table. `D block block …` decodes, `E list list …` encodes. A
block is in hexadecimal, a list is `name=value&name=value`, each in hexadecimal, an empty one `-`.
`T size` within a sequence is the peer's setting for the table. Output has the same format, or
`!reason` if the sequence is refused, and then nothing more.
"""

import sys

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hpack.struct import NeverIndexedHeaderTuple


def text_of(fields):
    def one(field):
        mark = "!" if isinstance(field, NeverIndexedHeaderTuple) else ""
        return f"{mark}{field[0].hex()}={field[1].hex()}"

    return "&".join(one(field) for field in fields) or "-"


def decode(words):
    decoder = Decoder(max_header_list_size=1 << 24)
    result = []
    for word in words:
        if word.startswith("T"):
            decoder.max_allowed_table_size = int(word[1:])
            continue
        try:
            result.append(text_of(decoder.decode(bytes.fromhex(word.strip("-")), raw=True)))
        except (HPACKError, UnicodeDecodeError, IndexError) as error:
            result.append(f"!{type(error).__name__}")
            break
    return result


def encode(words):
    encoder = Encoder()
    result = []
    for word in words:
        if word.startswith("T"):
            encoder.header_table_size = int(word[1:])
            continue
        fields = []
        for field in word.split("&") if word != "-" else []:
            name, value = field.lstrip("!").split("=")
            # The third value tells whether the field is a secret.
            fields.append((bytes.fromhex(name), bytes.fromhex(value), field.startswith("!")))
        result.append(encoder.encode(fields).hex() or "-")
    return result


lines = []
for line in sys.stdin:
    kind, *words = line.split()
    lines.append(" ".join(decode(words) if kind == "D" else encode(words)))
sys.stdout.write("".join(line + "\n" for line in lines))
