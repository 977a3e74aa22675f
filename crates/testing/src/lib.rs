//! Helpers for tests of several crates. Only tests depend on it.

mod fake_driver;
pub mod parity;
pub mod simulate;

pub use fake_driver::FakeDriver;
