"""C code of a fingerprint: a CRC-32 of all constants, by which a host recognizes the net on a board."""

from __future__ import annotations

import re

_ARRAY = re.compile(r"^static const [\w ]+ (\w+)\[\d+\] = \{$", re.MULTILINE)


def text(name: str, constants: str) -> str:
    """C code of the function ``NAME_fingerprint``.

    Args:
        name: prefix of the functions. constants: C code of the constants; the CRC is of its arrays, one after another.
    """
    calls = "".join(f"    crc = edge_crc(crc, {array}, sizeof({array}));\n" for array in _ARRAY.findall(constants))
    return f"""#if defined(EDGE_FINGERPRINT) || defined(EDGE_SHARED)
/* CRC-32 of all constants on a little-endian processor, by which another machine knows that they are its own. */
uint32_t {name}_fingerprint(void);

static uint32_t edge_crc(uint32_t begun, const void *array, size_t size) {{
    const uint8_t *const bytes = (const uint8_t *)array;
    uint32_t crc = begun;
    for (size_t i = 0; i < size; i++) {{
        crc ^= bytes[i];
        for (int32_t bit = 0; bit < 8; bit++) {{
            crc = (crc >> 1U) ^ (0xEDB88320U & (0U - (crc & 1U)));
        }}
    }}
    return crc;
}}

uint32_t {name}_fingerprint(void) {{
    uint32_t crc = 0xFFFFFFFFU;
{calls}    return ~crc;
}}
#endif
"""
