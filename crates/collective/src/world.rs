//! The processes that compute one model together.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Device, Library};

use crate::abi::WorldPosition;
use crate::cuda::CollectiveCudaDriver;
use crate::meter::Metered;
use crate::mpi::{HostAllReduce, Mpi};
use crate::nccl::Nccl;
use crate::{AllReduce, CollectiveError, watch};

/// The environment variable in which a worker is told how many ranks there are; without it there is one.
pub const WORLD_SIZE_VARIABLE: &str = "LLAMA2_BENCH_WORLD_SIZE";
/// The environment variable that names another `libllama2_bench_mpi.so` than the one beside the program.
pub const MPI_LIBRARY_VARIABLE: &str = "LLAMA2_BENCH_MPI_LIBRARY";

/// All ranks, seen from one of them.
#[derive(Clone)]
pub struct World {
    place: WorldPosition,
    mpi: Option<Arc<Mpi>>,
}

impl World {
    /// One rank.
    pub fn alone() -> Self {
        Self { place: WorldPosition { rank: 0, size: 1, local_rank: 0, local_size: 1 }, mpi: None }
    }

    /// Joins the ranks that this process was started with, if there are any.
    ///
    /// # Errors
    /// Fails where MPI's part is not built or can't be started, or the number of ranks differs from the environment's.
    pub fn join() -> Result<Self, CollectiveError> {
        let Ok(size) = std::env::var(WORLD_SIZE_VARIABLE) else { return Ok(Self::alone()) };
        let size: usize = size.parse().map_err(|_| {
            CollectiveError::new(format_args!(
                "{WORLD_SIZE_VARIABLE}: expected a whole number, found \"{size}\""
            ))
        })?;
        if size == 1 {
            return Ok(Self::alone());
        }
        let mpi = Mpi::start()?;
        let place = mpi.place;
        if place.size != size {
            return Err(CollectiveError::new(format_args!(
                "{} ranks were started by a launcher of the MPI that this was built with, expected {size}: is mpirun of \
                 another MPI?",
                place.size
            )));
        }
        watch::answer_signals(place.rank);
        Ok(Self { place, mpi: Some(Arc::new(mpi)) })
    }

    /// Which rank this is, from 0.
    pub fn rank(&self) -> usize {
        self.place.rank
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.place.size
    }

    /// How many of them are on this machine.
    pub fn local_size(&self) -> usize {
        self.place.local_size
    }

    /// Whether there is only one rank.
    pub fn is_alone(&self) -> bool {
        self.mpi.is_none()
    }

    /// The device of this rank where rank 0's is `device`: on a machine with several ranks, the GPUs from there on.
    pub fn device(&self, device: Device) -> Device {
        match device {
            Device::Cpu => Device::Cpu,
            Device::Cuda(index) => Device::Cuda(index + self.place.local_rank as u32),
        }
    }

    /// Threads for this rank on the CPU: what was asked for, else its share of this machine's cores.
    pub fn threads(&self, asked: Option<u32>) -> Option<u32> {
        if self.is_alone() || asked.is_some() {
            return asked;
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Some((cores / self.place.local_size).max(1) as u32)
    }

    /// What the ranks talk with; nothing where there is one.
    pub fn libraries(&self) -> Vec<Library> {
        let describe = |mpi: &Arc<Mpi>| {
            let text = mpi.describe();
            // `Open MPI v4.1.4, package: …`; `MPICH Version:	4.0.2 …`.
            let line = text.lines().next().unwrap_or_default().split(',').next().unwrap_or_default();
            let digit = line.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
            let name = line[..digit].trim_end_matches(['v', ':', ' ', '\t']).trim_end_matches(" Version");
            Library { name: name.into(), version: line[digit..].trim().into(), path: None }
        };
        self.mpi.iter().map(describe).collect()
    }

    /// The sum over all ranks where this rank's numbers are on `device`; `None` where there is one rank. All call this
    /// together.
    pub fn all_reduce(&self, device: Device) -> Result<Option<Arc<dyn AllReduce>>, CollectiveError> {
        let Some(mpi) = &self.mpi else { return Ok(None) };
        let (inner, driver): (Arc<dyn AllReduce>, _) = match device {
            Device::Cpu => (Arc::new(HostAllReduce::new(Arc::clone(mpi))), None),
            Device::Cuda(index) => {
                let driver = CollectiveCudaDriver::open()?;
                (Arc::new(Nccl::join(mpi, &driver, index)?), Some(driver))
            }
        };
        Ok(Some(Arc::new(Metered { inner, driver })))
    }

    /// Waits for all ranks.
    pub fn barrier(&self) -> Result<(), CollectiveError> {
        self.mpi.as_ref().map_or(Ok(()), |mpi| mpi.barrier())
    }

    /// Gives every rank rank 0's text; the others' texts are ignored.
    pub fn broadcast(&self, text: Option<String>) -> Result<Option<String>, CollectiveError> {
        let Some(mpi) = &self.mpi else { return Ok(text) };
        const NONE: u64 = u64::MAX;
        let mut length = text.as_ref().map_or(NONE, |text| text.len() as u64).to_le_bytes();
        mpi.broadcast(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length == NONE {
            return Ok(None);
        }
        let mut bytes = text.unwrap_or_default().into_bytes();
        bytes.resize(length as usize, 0);
        mpi.broadcast(&mut bytes)?;
        String::from_utf8(bytes).map(Some).map_err(CollectiveError::new)
    }

    /// All ranks' texts, cut to the bytes that fit; `None` where not all ranks gave one within `limit`: then
    /// nothing but [`World::abort`] is left.
    pub fn gather(
        &self,
        text: &str,
        limit: Option<Duration>,
    ) -> Result<Option<Vec<String>>, CollectiveError> {
        let Some(mpi) = &self.mpi else { return Ok(Some(vec![text.into()])) };
        let mut mine = vec![0; GATHERED];
        let len = text.len().min(GATHERED);
        mine[..len].copy_from_slice(&text.as_bytes()[..len]);
        let Some(all) = mpi.all_gather(&mine, limit)? else { return Ok(None) };
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        Ok(Some(all.chunks(GATHERED).map(text).collect()))
    }

    /// Ends every rank, this one too.
    pub fn abort(&self) -> ! {
        if let Some(mpi) = &self.mpi {
            mpi.abort();
        }
        std::process::exit(1)
    }

    /// Leaves cleanly: all ranks call this, and compute no more.
    pub fn finish(&self) {
        if let Some(mpi) = &self.mpi {
            mpi.finish();
        }
    }
}

/// Bytes of a rank's text.
const GATHERED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rank_needs_nobody() {
        let world = World::alone();
        assert!(world.all_reduce(Device::Cpu).unwrap().is_none());
        assert_eq!(world.broadcast(Some("a".into())), Ok(Some("a".into())));
        assert_eq!(world.gather("a", None), Ok(Some(vec!["a".into()])));
        assert_eq!(world.barrier(), Ok(()));
        assert_eq!((world.threads(None), world.threads(Some(3))), (None, Some(3)));
        assert_eq!(world.device(Device::Cuda(2)), Device::Cuda(2));
        assert!(world.libraries().is_empty());
    }
}
