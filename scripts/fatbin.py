"""Cut a CUDA library down to the machine code of one GPU architecture.

nvcc leaves a kernel's code for every architecture it was told to compile for in the ELF section .nv_fatbin, a row of
regions, one for each file that was compiled. A region is a header and entries, each with a header of its own (all
little-endian; cuobjdump shows the same):

    region   0  u32  magic 0xBA55ED50      entry    0  u16  kind: 1 PTX, 2 machine code
             4  u16  version                        4  u32  size of this header
             6  u16  size of this header            8  u64  size of what follows it
             8  u64  size of the entries           28  u32  architecture, 90 for sm_90

A region that has code for the wanted architecture keeps that code alone: its entries move to the front, its size
shrinks, and the rest becomes zeros, which the CUDA runtime does not look at and every compressor loves. A region
without such code stays as it is, so that the runtime can say itself what it lacks. Nothing moves but entries within a
region: the file keeps its size and every address.
"""

import struct
from dataclasses import dataclass, field

SECTION = ".nv_fatbin"
REGION_MAGIC = 0xBA55ED50
MACHINE_CODE = 2
REGION = struct.Struct("<IHHQ")
ENTRY = struct.Struct("<HHIQ12xI")


class NotAFatbin(Exception):
    """The file is not what it should be, said in one line."""


@dataclass
class Pruned:
    """What was done, in bytes of entries, and the section that it was done in."""

    start: int
    end: int
    kept: int = 0
    dropped: int = 0
    left_alone: int = 0
    architectures: set = field(default_factory=set)


def prune(image, architecture):
    """Cut `image`, the bytearray of a shared library, down to `architecture`, in place."""
    start, size = find_section(image, SECTION)
    pruned = Pruned(start, start + size)
    if pruned.end > len(image):
        raise NotAFatbin(f"its section {SECTION} goes beyond its end")
    position = start
    while position < pruned.end:
        # Between regions there is padding.
        if position + REGION.size > pruned.end or unpack(REGION, image, position)[0] != REGION_MAGIC:
            position += 8
            continue
        position = prune_region(image, position, architecture, pruned)
    if pruned.kept == 0:
        there = ", ".join(f"sm_{number}" for number in sorted(pruned.architectures)) or "none at all"
        raise NotAFatbin(f"it has no code for sm_{architecture}; it has code for {there}")
    return pruned


def prune_region(image, position, architecture, pruned):
    """Cut one region down; where it ends."""
    _, _, header_size, size = unpack(REGION, image, position)
    first = position + header_size
    end = first + size
    if end > pruned.end:
        raise NotAFatbin(f"the region at {position} goes beyond the section")
    keep, entry = [], first
    while entry < end:
        kind, _, entry_header_size, entry_size, found = unpack(ENTRY, image, entry)
        next_entry = entry + entry_header_size + entry_size
        if entry_header_size < ENTRY.size or next_entry > end:
            raise NotAFatbin(f"the entry at {entry} goes beyond its region")
        if kind == MACHINE_CODE:
            pruned.architectures.add(found)
            if found == architecture:
                keep.append(bytes(image[entry:next_entry]))
        entry = next_entry
    if keep:
        entries = b"".join(keep)
        image[first:end] = entries + bytes(size - len(entries))
        struct.pack_into("<Q", image, position + 8, len(entries))
        pruned.kept += len(entries)
        pruned.dropped += size - len(entries)
    else:
        pruned.left_alone += size
    return end


def find_section(image, name):
    """Offset and size of a section of a 64-bit little-endian ELF file."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise NotAFatbin("it is no 64-bit ELF file")
    table = unpack(struct.Struct("<Q"), image, 0x28)[0]
    entry_size, count, names_index = unpack(struct.Struct("<HHH"), image, 0x3A)
    header = struct.Struct("<I20xQQ")
    names = unpack(header, image, table + names_index * entry_size)[1]
    for index in range(count):
        name_offset, offset, size = unpack(header, image, table + index * entry_size)
        begin = names + name_offset
        if image[begin : begin + len(name) + 1] == name.encode() + b"\0":
            return offset, size
    raise NotAFatbin(f"it has no section {name}")


def unpack(layout, image, offset):
    try:
        return layout.unpack_from(image, offset)
    except struct.error:
        raise NotAFatbin(f"it ends before {offset + layout.size}") from None
