//! Reads runs and files with tables, and prints what of a file is not read.

use std::path::Path;

use anyhow::{Result, ensure};
use results::{PublishedFile, Source};

use crate::args::ReadArgs;
use crate::printer;

/// Reads runs' folders and files with tables in parallel, and prints what of the files is not read.
///
/// # Errors
/// Where one can't be read, or where a flag gives what all files already state.
pub(crate) fn read<P: AsRef<Path> + Sync>(paths: &[P], args: &ReadArgs) -> Result<Vec<Source>> {
    let options = args.options()?;
    let sources: Vec<_> = std::thread::scope(|scope| {
        let options = &options;
        let reading = paths.iter().map(|path| scope.spawn(move || Source::read_with(path.as_ref(), options)));
        let reading: Vec<_> = reading.collect();
        let read = reading.into_iter().map(std::thread::ScopedJoinHandle::join);
        read.map(|one| one.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let sources = sources.into_iter().collect::<Result<Vec<_>, _>>()?;
    for (flag, without) in args.each_given() {
        let without = without.options()?;
        let is_used = |(source, path): (&Source, &P)| match source {
            Source::Run(_) => false,
            Source::File(file) => {
                let other = PublishedFile::read_with(path.as_ref(), &without);
                !other.is_ok_and(|other| other.document == file.document)
            }
        };
        ensure!(
            sources.iter().zip(paths).any(is_used),
            "{flag}: all files here already state this: leave the flag out"
        );
    }
    for source in &sources {
        if let Source::File(file) = source {
            say_remarks(file);
        }
    }
    Ok(sources)
}

/// [`read`] that also prints which headings can't be read.
pub(crate) fn read_with_headings<P: AsRef<Path> + Sync>(paths: &[P], args: &ReadArgs) -> Result<Vec<Source>> {
    let sources = read(paths, args)?;
    for source in &sources {
        if let Source::File(file) = source {
            file.unreadable_headings().for_each(note);
        }
    }
    Ok(sources)
}

/// Prints what of a file is not read.
pub(crate) fn say_remarks(file: &PublishedFile) {
    file.remarks().for_each(note);
}

/// Prints a note.
pub(crate) fn note(remark: impl AsRef<str>) {
    printer::line(&results::one_line(&format!("note: {}", remark.as_ref())));
}
