//! Tampers with a bundle, for the demo.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Copies a bundle and flips one bit in the last byte of the last event of its first stream. Returns the place.
pub(crate) fn copy_with_one_byte_changed(bundle: &Path, copy: &Path) -> anyhow::Result<String> {
    copy_folder(bundle, copy).with_context(|| format!("copy {} to {}", bundle.display(), copy.display()))?;
    let folder = copy.join("streams/000000");
    let file = last_events_file(&folder)?.with_context(|| format!("{}: no events", folder.display()))?;
    let flip = || {
        let mut file = fs::File::options().read(true).write(true).open(&file)?;
        let at = file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&[byte[0] ^ 1])?;
        std::io::Result::Ok(at)
    };
    let at = flip().with_context(|| file.display().to_string())?;
    let name = file.strip_prefix(copy).unwrap_or(&file);
    Ok(format!("{}, byte {at}", name.display()))
}

fn last_events_file(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut last = None;
    for file in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "events") {
            last = last.max(Some(path));
        }
    }
    Ok(last)
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let target = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            copy_folder(&file.path(), &target)?;
        } else {
            fs::copy(file.path(), &target)?;
        }
    }
    Ok(())
}
