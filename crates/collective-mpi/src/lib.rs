//! `libllama2_bench_mpi.so`: the part of this project that is compiled against MPI, as the table of C functions that
//! `collective::abi` describes. A worker opens it when it is one of several ranks.

#[cfg(feature = "mpi")]
mod table;
