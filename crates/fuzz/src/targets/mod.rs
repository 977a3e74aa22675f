//! One module for each target: its samples, and what is promised of what it reads.

pub mod checkpoint;
pub mod config;
pub mod history;
pub mod page;
pub mod published;
pub mod records;
pub mod reply;
pub mod sweep;
pub mod tokenizer;
pub mod words;
