//! What Waxseal's programs share: the format, the keys and the decisions.
//!
//! Nothing here does input or output, reads a clock, the environment or a terminal: time,
//! randomness and keys are arguments.
#![deny(missing_docs)]

pub mod crds;
pub mod format;
pub mod judgement;
pub mod key;
pub mod key_life;
pub mod key_ring;
pub mod manifest;
pub mod names;
pub mod open;
pub mod plan;
pub mod randomness;
pub mod reason;
pub mod seal;
pub mod sealed_secret;
pub mod sealing_key;
pub mod secret;
pub mod secret_fault;
pub mod settled;
mod stack;
pub mod status;
pub mod template;
pub mod visible_text;
