//! Ranks that share a model, as an engine sees them: a [`World`] of processes, and the [`AllReduce`] over it.
//!
//! Nothing here is linked with MPI, NCCL or CUDA: all are opened when a world of more than one rank is joined. What is
//! compiled against MPI is a library of its own, `crates/collective-mpi`, behind [`abi`]; so one worker's program serves
//! machines with and without it.

pub mod abi;
mod all_reduce;
mod cuda;
mod error;
mod meter;
mod mpi;
mod nccl;
mod watch;
mod world;

pub use all_reduce::{AllReduce, Numbers};
pub use error::CollectiveError;
pub use meter::{METER, Meter};
pub use world::{MPI_LIBRARY_VARIABLE, WORLD_SIZE_VARIABLE, World};
