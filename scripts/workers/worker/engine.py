"""What an engine must be able to do, one forward at a time: the trait of crates/worker/src/engine.rs."""

from abc import ABC, abstractmethod


class Engine(ABC):
    """Called in this order: hello, load, then for each cell begin, any number of generations, end. A generation is
    reset, prefill, then select and decode in turn. Only prefill and decode, with the synchronize after them, are timed."""

    #: `cpu` or `cuda:N`; set by `load`, as are the two numbers of the model.
    device = "cpu"
    vocab_size = 0
    max_position_embeddings = 0
    #: Whether `load` can bound the device's memory.
    bounds_device_memory = False
    #: Whether the logits of the cell that begins are asked for at every step; else only whether the last are finite.
    keeps_logits = False

    @abstractmethod
    def hello(self):
        """`engine`, `libraries`, `devices` and `options` of the hello."""

    @abstractmethod
    def load(self, request, reporter):
        """Builds the model; the fields of `loaded`. Options, devices and precisions that can't be had are errors here."""

    @abstractmethod
    def begin(self, prompt_ids, generation_length):
        """Allocates what a cell needs: for this prompt and this many decode forwards after it."""

    @abstractmethod
    def reset(self):
        """Empties the KV cache and puts the prompt back as input."""

    @abstractmethod
    def prefill(self):
        """One forward of the whole prompt."""

    @abstractmethod
    def select(self):
        """Makes each row's most probable token (the lowest id among equals) the next input, and keeps it."""

    @abstractmethod
    def decode(self):
        """One forward of the selected token of each row."""

    @abstractmethod
    def tokens(self):
        """The tokens selected since `reset`, a list of ints for each row."""

    @abstractmethod
    def logits(self):
        """The last forward's logits at the last position: for each row a buffer of little-endian f32. None at all where the
        engine can't say them and does not keep them."""

    @abstractmethod
    def end(self):
        """Frees what `begin` allocated."""

    def synchronize(self):
        """Waits until the device is idle."""

    def mark(self):
        """Puts a mark into the device's queue of work, which notes by the device's clock when it got there."""

    def device_seconds(self):
        """Seconds between the last two marks; None where the device has no clock of its own."""

    def kv_cache_bytes(self):
        """Bytes of the KV cache as it is held now, where that is known."""

    def device_peak_bytes(self):
        """The most device memory held since `begin`, where that is known."""
