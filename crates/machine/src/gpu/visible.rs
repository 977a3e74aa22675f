//! Finds the GPU that a sweep calls `cuda:N`.

/// A `cuda:N` that can't be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVisible {
    /// The driver reports fewer GPUs.
    #[error("cuda:{0}: the driver reports {1} GPUs")]
    TooFew(u32, usize),
    /// `CUDA_VISIBLE_DEVICES` hides it.
    #[error("cuda:{0}: CUDA_VISIBLE_DEVICES shows {1}")]
    Hidden(u32, String),
    /// An instance of a GPU, which NVML counts otherwise.
    #[error(
        "cuda:{0}: an instance of a GPU (MIG): the driver does not report its power and clocks separately"
    )]
    Instance(u32),
}

/// The index in the order of the PCI bus of the GPU that CUDA calls `cuda_index`, where its order is that, too
/// (`CUDA_DEVICE_ORDER=PCI_BUS_ID`). `visible` is `CUDA_VISIBLE_DEVICES`: indices, or beginnings of uuids; what follows an entry
/// that names no GPU is hidden (CUDA C++ Programming Guide, "CUDA environment variables").
///
/// # Errors
/// Fails where that shows no such GPU, or a part of one.
pub fn nvml_index(cuda_index: u32, visible: Option<&str>, uuids: &[String]) -> Result<u32, NotVisible> {
    let Some(visible) = visible else {
        let is_there = (cuda_index as usize) < uuids.len();
        return is_there.then_some(cuda_index).ok_or(NotVisible::TooFew(cuda_index, uuids.len()));
    };
    let hidden = || {
        let shown = if visible.trim().is_empty() { "none" } else { visible };
        NotVisible::Hidden(cuda_index, shown.to_owned())
    };
    let mut shown: Vec<u32> = Vec::new();
    for entry in visible.split(',').map(str::trim) {
        if entry.starts_with("MIG-") {
            return Err(NotVisible::Instance(cuda_index));
        }
        let found = match entry.parse::<u32>() {
            Ok(index) => Some(index).filter(|&index| (index as usize) < uuids.len()),
            Err(_) if entry.starts_with("GPU-") => by_uuid(entry, uuids),
            Err(_) => None,
        };
        match found {
            Some(index) if !shown.contains(&index) => shown.push(index),
            _ => break,
        }
    }
    shown.get(cuda_index as usize).copied().ok_or_else(hidden)
}

/// The only GPU whose uuid begins with this text.
fn by_uuid(start: &str, uuids: &[String]) -> Option<u32> {
    let mut found = uuids.iter().enumerate().filter(|(_, uuid)| uuid.starts_with(start));
    let (index, _) = found.next()?;
    found.next().is_none().then_some(index as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cuda_index_is_found_among_the_visible_gpus() {
        let uuids = ["GPU-aa11", "GPU-ab22", "GPU-cc33"].map(String::from);
        let index = |cuda, visible| nvml_index(cuda, visible, &uuids).ok();
        let cases = [
            (0, None, Some(0)),
            (2, None, Some(2)),
            (3, None, None),
            (0, Some("2,0"), Some(2)),
            (1, Some("2, 0"), Some(0)),
            (2, Some("2,0"), None),
            (0, Some(""), None),
            (0, Some("-1"), None),
            (1, Some("1,-1,2"), None),
            (0, Some("1,9"), Some(1)),
            (1, Some("1,9,2"), None),
            (0, Some("1,1"), Some(1)),
            (1, Some("1,1"), None),
            (0, Some("GPU-cc"), Some(2)),
            (1, Some("GPU-cc33,GPU-aa"), Some(0)),
            (0, Some("GPU-a"), None),
            (0, Some("MIG-1234"), None),
        ];
        for (cuda, visible, expected) in cases {
            assert_eq!(index(cuda, visible), expected, "cuda:{cuda} of {visible:?}");
        }
    }

    #[test]
    fn what_is_not_visible_is_said() {
        let message = |visible| nvml_index(1, visible, &["GPU-a".to_owned()]).unwrap_err().to_string();
        assert_eq!(message(None), "cuda:1: the driver reports 1 GPUs");
        assert_eq!(message(Some("")), "cuda:1: CUDA_VISIBLE_DEVICES shows none");
        assert!(message(Some("MIG-1")).contains("MIG"));
    }
}
