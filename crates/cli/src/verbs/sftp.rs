//! `windlass sftp-server`: files over SFTP (version 3) on standard input and output. It runs inside of an
//! environment, as its user: what it may do to files is what any program there may.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use russh_sftp::{
    protocol::{
        Attrs, Data, File as Entry, FileAttributes, Handle, Name, OpenFlags, Status, StatusCode,
    },
    server::{Handler, StatusReply},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::exit::Exit;

/// How many files and folders may be open at once.
const OPEN: usize = 1000;
/// How many entries of a folder are told at once.
const ENTRIES: usize = 100;
/// The most bytes of one answer to a read.
const PIECE: u32 = 256 * 1024;

pub(crate) async fn run() -> Result<Exit> {
    let (ours, theirs) = tokio::io::duplex(PIECE as usize);
    russh_sftp::server::run(theirs, Server::default()).await;
    let (mut answers, mut questions) = tokio::io::split(ours);
    let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
    let asked = async {
        tokio::io::copy(&mut input, &mut questions).await?;
        questions.shutdown().await
    };
    // The server drops its end when nothing more is asked: then all is answered.
    let answered = async {
        let mut buffer = vec![0; PIECE as usize];
        loop {
            let n = answers.read(&mut buffer).await?;
            if n == 0 {
                return Ok(());
            }
            output.write_all(&buffer[..n]).await?;
            output.flush().await?;
        }
    };
    tokio::try_join!(asked, answered).context("the connection broke off")?;
    Ok(Exit::Success)
}

/// What one client has open.
#[derive(Default)]
struct Server {
    files: HashMap<String, File>,
    folders: HashMap<String, Vec<Entry>>,
    last: u64,
}

type Answer<T> = std::result::Result<T, StatusReply>;

/// A failure in words that a client shows.
fn failed(error: &io::Error) -> StatusReply {
    let code = match error.kind() {
        io::ErrorKind::NotFound => StatusCode::NoSuchFile,
        io::ErrorKind::PermissionDenied => StatusCode::PermissionDenied,
        _ => StatusCode::Failure,
    };
    StatusReply::new(code).with_message(error.to_string())
}

fn unknown() -> StatusReply {
    StatusReply::new(StatusCode::Failure).with_message("there is no such handle")
}

fn fine(id: u32) -> Status {
    Status {
        id,
        status_code: StatusCode::Ok,
        error_message: "fine".to_owned(),
        language_tag: "en".to_owned(),
    }
}

/// What to answer to something that gives nothing.
fn done(id: u32, result: io::Result<()>) -> Answer<Status> {
    result.map(|()| fine(id)).map_err(|error| failed(&error))
}

fn attributes(metadata: &fs::Metadata) -> FileAttributes {
    let seconds = |seconds: i64| u32::try_from(seconds).unwrap_or(u32::MAX);
    FileAttributes {
        size: Some(metadata.len()),
        uid: Some(metadata.uid()),
        gid: Some(metadata.gid()),
        permissions: Some(metadata.mode()),
        atime: Some(seconds(metadata.atime())),
        mtime: Some(seconds(metadata.mtime())),
        ..FileAttributes::empty()
    }
}

impl Server {
    fn name(&mut self) -> Answer<String> {
        if self.files.len() + self.folders.len() >= OPEN {
            return Err(StatusReply::new(StatusCode::Failure).with_message("too many are open"));
        }
        self.last += 1;
        Ok(self.last.to_string())
    }

    fn file(&self, handle: &str) -> Answer<&File> {
        self.files.get(handle).ok_or_else(unknown)
    }
}

/// Changes what the client names, and nothing else.
fn change(file: &File, wanted: &FileAttributes) -> io::Result<()> {
    if let Some(size) = wanted.size {
        file.set_len(size)?;
    }
    if let Some(mode) = wanted.permissions {
        file.set_permissions(fs::Permissions::from_mode(mode & 0o7777))?;
    }
    if let (Some(accessed), Some(modified)) = (wanted.atime, wanted.mtime) {
        let at = |seconds: u32| UNIX_EPOCH + Duration::from_secs(u64::from(seconds));
        let times = fs::FileTimes::new().set_accessed(at(accessed)).set_modified(at(modified));
        file.set_times(times)?;
    }
    Ok(())
}

impl Handler for Server {
    type Error = StatusReply;

    fn unimplemented(&self) -> StatusReply {
        StatusReply::new(StatusCode::OpUnsupported)
    }

    async fn open(
        &mut self,
        id: u32,
        filename: String,
        flags: OpenFlags,
        wanted: FileAttributes,
    ) -> Answer<Handle> {
        let has = |flag| flags.contains(flag);
        let mut options = fs::OpenOptions::new();
        options
            .read(has(OpenFlags::READ))
            .write(has(OpenFlags::WRITE))
            .append(has(OpenFlags::APPEND))
            .truncate(has(OpenFlags::TRUNCATE))
            .mode(wanted.permissions.unwrap_or(0o644) & 0o777);
        if has(OpenFlags::EXCLUDE) {
            options.create_new(has(OpenFlags::CREATE));
        } else {
            options.create(has(OpenFlags::CREATE));
        }
        let file = options.open(filename).map_err(|error| failed(&error))?;
        let handle = self.name()?;
        self.files.insert(handle.clone(), file);
        Ok(Handle { id, handle })
    }

    async fn close(&mut self, id: u32, handle: String) -> Answer<Status> {
        let is_open = self.files.remove(&handle).is_some() | self.folders.remove(&handle).is_some();
        if is_open { Ok(fine(id)) } else { Err(unknown()) }
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, length: u32) -> Answer<Data> {
        let mut data = vec![0; length.min(PIECE) as usize];
        let n = self.file(&handle)?.read_at(&mut data, offset).map_err(|error| failed(&error))?;
        if n == 0 {
            return Err(StatusReply::new(StatusCode::Eof));
        }
        data.truncate(n);
        Ok(Data { id, data })
    }

    async fn write(
        &mut self,
        id: u32,
        handle: String,
        offset: u64,
        data: Vec<u8>,
    ) -> Answer<Status> {
        done(id, self.file(&handle)?.write_all_at(&data, offset))
    }

    async fn lstat(&mut self, id: u32, path: String) -> Answer<Attrs> {
        let metadata = fs::symlink_metadata(path).map_err(|error| failed(&error))?;
        Ok(Attrs { id, attrs: attributes(&metadata) })
    }

    async fn stat(&mut self, id: u32, path: String) -> Answer<Attrs> {
        let metadata = fs::metadata(path).map_err(|error| failed(&error))?;
        Ok(Attrs { id, attrs: attributes(&metadata) })
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Answer<Attrs> {
        let metadata = self.file(&handle)?.metadata().map_err(|error| failed(&error))?;
        Ok(Attrs { id, attrs: attributes(&metadata) })
    }

    async fn setstat(&mut self, id: u32, path: String, wanted: FileAttributes) -> Answer<Status> {
        let opened = fs::OpenOptions::new().write(wanted.size.is_some()).read(true).open(path);
        done(id, opened.and_then(|file| change(&file, &wanted)))
    }

    async fn fsetstat(
        &mut self,
        id: u32,
        handle: String,
        wanted: FileAttributes,
    ) -> Answer<Status> {
        done(id, change(self.file(&handle)?, &wanted))
    }

    async fn opendir(&mut self, id: u32, path: String) -> Answer<Handle> {
        let mut entries = Vec::new();
        for name in [".", ".."] {
            let metadata = fs::metadata(PathBuf::from(&path).join(name));
            let metadata = metadata.map_err(|error| failed(&error))?;
            entries.push(Entry::new(name, attributes(&metadata)));
        }
        for entry in fs::read_dir(&path).map_err(|error| failed(&error))? {
            let entry = entry.map_err(|error| failed(&error))?;
            // One that went away meanwhile is none.
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(Entry::new(name, attributes(&metadata)));
        }
        let handle = self.name()?;
        self.folders.insert(handle.clone(), entries);
        Ok(Handle { id, handle })
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Answer<Name> {
        let entries = self.folders.get_mut(&handle).ok_or_else(unknown)?;
        if entries.is_empty() {
            return Err(StatusReply::new(StatusCode::Eof));
        }
        let files = entries.drain(..entries.len().min(ENTRIES)).collect();
        Ok(Name { id, files })
    }

    async fn remove(&mut self, id: u32, filename: String) -> Answer<Status> {
        done(id, fs::remove_file(filename))
    }

    async fn mkdir(&mut self, id: u32, path: String, _: FileAttributes) -> Answer<Status> {
        done(id, fs::create_dir(path))
    }

    async fn rmdir(&mut self, id: u32, path: String) -> Answer<Status> {
        done(id, fs::remove_dir(path))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Answer<Name> {
        let path = if path.is_empty() { ".".to_owned() } else { path };
        // What is not there yet has a name too, in a folder that is.
        let real = fs::canonicalize(&path).or_else(|_| std::path::absolute(&path));
        let real = real.map_err(|error| failed(&error))?;
        Ok(Name { id, files: vec![Entry::dummy(real.to_string_lossy())] })
    }

    async fn rename(&mut self, id: u32, from: String, to: String) -> Answer<Status> {
        if fs::symlink_metadata(&to).is_ok() {
            let why = io::Error::new(io::ErrorKind::AlreadyExists, "there is one of that name");
            return Err(failed(&why));
        }
        done(id, fs::rename(from, to))
    }

    async fn readlink(&mut self, id: u32, path: String) -> Answer<Name> {
        let target = fs::read_link(path).map_err(|error| failed(&error))?;
        Ok(Name { id, files: vec![Entry::dummy(target.to_string_lossy())] })
    }

    /// OpenSSH sends the target first, whatever the draft says.
    async fn symlink(&mut self, id: u32, target: String, link: String) -> Answer<Status> {
        done(id, std::os::unix::fs::symlink(target, link))
    }
}
