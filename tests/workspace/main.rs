//! Tests of the repository as a whole: the architecture of the crates, generated files, the chart, the vectors of the
//! format, the seeds of the fuzz targets, the files of a release, and the workflows.

mod architecture;
mod chart;
mod fuzz;
mod generated_files;
mod mutations;
mod release;
mod sbom;
mod vectors;
mod workflows;
