//! What libtorch reports, in one line.

use std::ffi::{CStr, c_char};
use std::fmt;
use std::ptr::NonNull;

use collective::CollectiveError;

/// An error of libtorch, without its C++ and TorchScript backtraces; or of the sum over ranks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TorchError(String);

pub(crate) type Result<T, E = TorchError> = std::result::Result<T, E>;

impl TorchError {
    /// Makes an error of an exception's text.
    pub(crate) fn new(text: &str) -> Self {
        // TorchScript puts its backtrace before the error, C++ after it.
        let text = text.rsplit_once("\nRuntimeError: ").map_or(text, |(_, error)| error);
        let backtraces = ["\nframe #0: ", "\nException raised from "];
        let end = backtraces.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
        Self(format!("libtorch: {}", text[..end].split_whitespace().collect::<Vec<_>>().join(" ")))
    }
}

impl fmt::Display for TorchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TorchError {}

impl From<CollectiveError> for TorchError {
    fn from(error: CollectiveError) -> Self {
        Self(error.to_string())
    }
}

/// A text that C allocated. `Option<CText>` is a `char *` of C, null or owned.
#[must_use]
#[repr(transparent)]
pub(crate) struct CText(NonNull<c_char>);

impl fmt::Display for CText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: a C string until `drop`.
        f.write_str(&unsafe { CStr::from_ptr(self.0.as_ptr()) }.to_string_lossy())
    }
}

impl Drop for CText {
    fn drop(&mut self) {
        // SAFETY: the text is from `malloc`, and owned here alone.
        unsafe { libc::free(self.0.as_ptr().cast()) }
    }
}

/// What a function of `shim/` returned: nothing, or an exception's text.
pub(crate) fn check(error: Option<CText>) -> Result<()> {
    error.map_or(Ok(()), |text| Err(TorchError::new(&text.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backtraces_are_left_out() {
        let error = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: \
                     you tried to allocate 16 bytes. Error code 12 (Cannot allocate memory)";
        let eager = format!(
            "{error}\nframe #0: c10::ThrowEnforceNotMet() + 0x6a (0x7f in libc10.so)\nframe #1: main"
        );
        let script = format!(
            "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript (most recent \
             call last):\n  File \"<string>\", line 14, in forward\n    ~~~~ <--- HERE\nRuntimeError: {error}\n"
        );
        let check =
            "size mismatch\nException raised from meta at x.cpp:1 (most recent call first):\nframe #0: main";
        assert_eq!(TorchError::new(&eager).to_string(), format!("libtorch: {error}"));
        assert_eq!(TorchError::new(&script).to_string(), format!("libtorch: {error}"));
        assert_eq!(TorchError::new(check).to_string(), "libtorch: size mismatch");
    }
}
