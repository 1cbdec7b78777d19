//! The archive with the programs for one target.

use std::fs;
use std::io;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use super::{Error, PROGRAMS, Target};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// 1 January 1980. Some programs warn of files from 1970.
const TIME: u64 = 315_532_800;

/// Returns a `tar.gz` with the programs, the licence and the README. It takes no owner, mode or time from the files, so
/// the same contents give the same bytes.
pub(super) fn make(target: &Target, programs: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Archive { triple: target.triple, source };
    let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for name in PROGRAMS {
        append(&mut archive, target, &programs.join(name), 0o755)?;
    }
    for name in ["LICENSE", "README.md"] {
        append(&mut archive, target, &Path::new(FOLDER).join(name), 0o644)?;
    }
    archive.into_inner().and_then(GzEncoder::finish).map_err(failed)
}

fn append(archive: &mut Builder<impl io::Write>, target: &Target, file: &Path, mode: u32) -> Result<(), Error> {
    let content = fs::read(file).map_err(|source| Error::Read { path: file.to_owned(), source })?;
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(TIME);
    let place = Path::new(&target.folder()).join(file.file_name().unwrap_or_default());
    archive
        .append_data(&mut header, place, &content[..])
        .map_err(|source| Error::Archive { triple: target.triple, source })
}
