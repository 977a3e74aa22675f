"""Cut a CUDA library down to the machine code of one GPU architecture, and to the kernels that are needed.

nvcc leaves a kernel's code for every architecture that it compiles for in the ELF section .nv_fatbin: a row of regions,
one for each compiled file. A region is a header and entries, each with a header of its own (all little-endian; cuobjdump
shows the same):

    region   0  u32  magic 0xBA55ED50      entry    0  u16  kind: 1 PTX, 2 machine code
             4  u16  version                        4  u32  size of this header
             6  u16  size of this header            8  u64  size of what follows it
             8  u64  size of the entries           16  u32  size of the compressed code in it
                                                   28  u32  architecture, 90 for sm_90
                                                   40  u64  flags: 0x8000 for code compressed by zstd
                                                   56  u64  size of the code once it is decompressed

A region that has code for the wanted architecture keeps that code alone: its entries move to the front, its size
shrinks, and the rest becomes zeros, which the CUDA runtime does not look at and which compress to nothing. A region
without such code stays as it is, so that the runtime itself reports what is missing.

A region of unneeded kernels becomes such a region: it gets the smallest code of another architecture that the library
has. Whoever launches one of its kernels then gets the runtime's own error (no kernel image for this device). Nothing
moves except entries within a region: the file keeps its size and every address.
"""

import ctypes
import struct
from dataclasses import dataclass, field

SECTION = ".nv_fatbin"
REGION_MAGIC = 0xBA55ED50
MACHINE_CODE = 2
ZSTD = 0x8000
REGION = struct.Struct("<IHHQ")
ENTRY = struct.Struct("<HHIQ12xI")
CODE = struct.Struct("<16xI20xQ8xQ")
# Where a kernel's code is in a cubin: the section .text.NAME.
KERNEL_SECTION = ".text."


class NotAFatbin(Exception):
    """The file is not what it should be, said in one line."""


@dataclass
class Pruned:
    """What was done, in bytes of entries, and the section that it was done in."""

    start: int
    end: int
    kept: int = 0
    dropped: int = 0
    # Dropped code of the wanted architecture that is not needed.
    unneeded: int = 0
    left_alone: int = 0
    architectures: set = field(default_factory=set)


@dataclass
class Entry:
    kind: int
    architecture: int
    header_size: int
    start: int
    end: int

    def is_code_for(self, architecture):
        return self.kind == MACHINE_CODE and self.architecture == architecture


@dataclass
class Region:
    position: int
    first: int
    end: int
    entries: list


def prune(image, architecture, is_needed=None):
    """Cut `image`, the bytearray of a shared library, down to `architecture`, in place.

    `is_needed` is asked for each kernel's (mangled) name; a region goes where none of its kernels is needed.
    """
    start, size = find_section(image, SECTION)
    pruned = Pruned(start, start + size)
    if pruned.end > len(image):
        raise NotAFatbin(f"its section {SECTION} goes beyond its end")
    regions = list(read_regions(image, pruned))
    donor = smallest_foreign_code(image, regions, architecture)
    for region in regions:
        own = [entry for entry in region.entries if entry.is_code_for(architecture)]
        size = region.end - region.first
        code = b"".join(bytes(image[entry.start : entry.end]) for entry in own)
        if not own:
            pruned.left_alone += size
            continue
        if is_needed is not None and donor is not None and len(donor) <= size and not needs(image, own, is_needed):
            pruned.unneeded += len(code)
            pruned.dropped += size
            code = donor
        else:
            pruned.kept += len(code)
            pruned.dropped += size - len(code)
        image[region.first : region.end] = code + bytes(size - len(code))
        struct.pack_into("<Q", image, region.position + 8, len(code))
    if pruned.kept == 0:
        there = ", ".join(f"sm_{number}" for number in sorted(pruned.architectures)) or "none at all"
        raise NotAFatbin(f"it has no code for sm_{architecture}; it has code for {there}")
    return pruned


def read_regions(image, pruned):
    position = pruned.start
    while position < pruned.end:
        # Between regions there is padding.
        if position + REGION.size > pruned.end or unpack(REGION, image, position)[0] != REGION_MAGIC:
            position += 8
            continue
        region = read_region(image, position, pruned)
        yield region
        position = region.end


def read_region(image, position, pruned):
    _, _, header_size, size = unpack(REGION, image, position)
    first = position + header_size
    end = first + size
    if end > pruned.end:
        raise NotAFatbin(f"the region at {position} goes beyond the section")
    entries, at = [], first
    while at < end:
        kind, _, entry_header_size, entry_size, architecture = unpack(ENTRY, image, at)
        after = at + entry_header_size + entry_size
        if entry_header_size < ENTRY.size or after > end:
            raise NotAFatbin(f"the entry at {at} goes beyond its region")
        if kind == MACHINE_CODE:
            pruned.architectures.add(architecture)
        entries.append(Entry(kind, architecture, entry_header_size, at, after))
        at = after
    return Region(position, first, end, entries)


def smallest_foreign_code(image, regions, architecture):
    """The smallest entry with code that can't run on `architecture`: code of another major version can't."""
    foreign = [
        entry
        for region in regions
        for entry in region.entries
        if entry.kind == MACHINE_CODE and entry.architecture // 10 != architecture // 10
    ]
    entry = min(foreign, key=lambda entry: entry.end - entry.start, default=None)
    return bytes(image[entry.start : entry.end]) if entry else None


def needs(image, entries, is_needed):
    """Whether one of the entries' kernels is needed; an entry that can't be read is."""
    for entry in entries:
        names = kernel_names(image, entry)
        if not names or any(map(is_needed, names)):
            return True
    return False


def kernel_names(image, entry):
    """The mangled names of an entry's kernels; none where its code can't be decompressed."""
    if entry.header_size < CODE.size:
        return []
    compressed, flags, size = unpack(CODE, image, entry.start)
    begin = entry.start + entry.header_size
    if flags & ZSTD == 0:
        code = bytes(image[begin : entry.end])
    else:
        code = decompress(bytes(image[begin : begin + compressed]), size)
    try:
        names = [name for name, _, _ in sections(code)]
    except NotAFatbin:
        return []
    return [name.removeprefix(KERNEL_SECTION) for name in names if name.startswith(KERNEL_SECTION)]


def decompress(data, size):
    """Decompress zstd, with the library that every Linux distribution's package manager uses."""
    try:
        zstd = ctypes.CDLL("libzstd.so.1")
    except OSError:
        raise NotAFatbin("its kernels are compressed, and there is no libzstd.so.1 (Debian: apt install libzstd1)") from None
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    zstd.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    buffer = ctypes.create_string_buffer(size)
    done = zstd.ZSTD_decompress(buffer, size, data, len(data))
    return buffer.raw if done == size else b""


def sections(image):
    """Name, offset and size of each section of a 64-bit little-endian ELF file."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise NotAFatbin("it is no 64-bit ELF file")
    table = unpack(struct.Struct("<Q"), image, 0x28)[0]
    entry_size, count, names_index = unpack(struct.Struct("<HHH"), image, 0x3A)
    header = struct.Struct("<I20xQQ")
    names = unpack(header, image, table + names_index * entry_size)[1]
    for index in range(count):
        name_offset, offset, size = unpack(header, image, table + index * entry_size)
        begin = names + name_offset
        yield bytes(image[begin : image.find(b"\0", begin)]).decode(errors="replace"), offset, size


def find_section(image, name):
    """Offset and size of a section."""
    for found, offset, size in sections(image):
        if found == name:
            return offset, size
    raise NotAFatbin(f"it has no section {name}")


def unpack(layout, image, offset):
    try:
        return layout.unpack_from(image, offset)
    except struct.error:
        raise NotAFatbin(f"it ends before {offset + layout.size}") from None
