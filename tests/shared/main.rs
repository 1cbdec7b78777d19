//! What `waxseal-shared` promises of every input, on seeds and past findings of the fuzzers.

mod fuzz;
