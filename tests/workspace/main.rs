//! Tests of the repository as a whole: the architecture of the crates, generated files, the vectors of the format, and
//! the seeds of the fuzz targets.

mod architecture;
mod chart;
mod fuzz;
mod generated_files;
mod mutations;
mod vectors;
