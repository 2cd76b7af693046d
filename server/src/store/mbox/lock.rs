//! The locks that programs share an mbox by: `flock`, and then a file `MBOX.lock`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, test_kill_process};

/// How often a lock is tried.
const TRY: Duration = Duration::from_millis(10);

/// A lock file this old is nobody's any more, as other programs hold, too.
const STALE: Duration = Duration::from_secs(300);

/// Opens a file and locks it; another one, if it was replaced meanwhile.
pub(super) fn lock_file(
    path: &Path,
    deadline: Instant,
    open: impl Fn() -> io::Result<File>,
) -> io::Result<File> {
    loop {
        let file = open()?;
        until(deadline, || {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(false),
                locked => locked.map(|()| true).map_err(Into::into),
            }
        })?;
        let (ours, there) = (file.metadata()?, fs::metadata(path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

/// A file that says to all programs that a mailbox is being written to.
#[derive(Debug)]
pub(super) struct DotLock {
    path: PathBuf,
}

impl DotLock {
    /// Waits for it. It gets its name with its content: so one that was left behind
    /// always says by whom.
    pub(super) fn take(mailbox: &Path, deadline: Instant) -> io::Result<Self> {
        let path = beside(mailbox, ".lock");
        let unnamed = beside(mailbox, &format!(".lock.{}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&unnamed)?;
        let taken = writeln!(file, "{} {}", std::process::id(), place()).and_then(|()| {
            until(deadline, || match fs::hard_link(&unnamed, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if is_stale(&path) {
                        fs::remove_file(&path)?;
                    }
                    Ok(false)
                }
                linked => linked.map(|()| true),
            })
        });
        let lock = taken.map(|()| Self { path });
        let _ = fs::remove_file(&unnamed);
        lock
    }
}

/// A path with something after it.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl Drop for DotLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Whoever made a lock file is gone: it is old, or it is one of ours and there is
/// no such process.
fn is_stale(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|there| there.modified());
    if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STALE)) {
        return true;
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(256).read_to_string(&mut text));
    let Some((pid, made_at)) = text.trim_end().split_once(' ') else {
        return false;
    };
    // Our sessions take turns: a lock of this process is of an earlier one with
    // its number.
    let gone = |pid: i32| {
        Pid::from_raw(pid).is_some_and(|pid| {
            pid == rustix::process::getpid()
                || test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
        })
    };
    read.is_ok() && made_at == place() && pid.parse().is_ok_and(gone)
}

/// What tells whether a process number is one of those that we know: the boot of
/// this system, and the namespace.
fn place() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    match (boot.trim(), space.to_str()) {
        ("", _) | (_, None | Some("")) => format!("process-{}", std::process::id()),
        (boot, Some(space)) => format!("{boot} {space}"),
    }
}

/// Tries until it works, an error comes, or it is too late.
fn until(deadline: Instant, mut works: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    while !works()? {
        if Instant::now() >= deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "somebody else has locked it",
            ));
        }
        std::thread::sleep(TRY);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn a_lock_is_waited_for_and_given_back() {
        let dir = testkit::scratch();
        let mailbox = dir.path().join("mbox");
        let held = dir.path().join("mbox.lock");
        fs::write(&held, "").unwrap();
        let error = DotLock::take(&mailbox, soon()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        fs::remove_file(&held).unwrap();
        let lock = DotLock::take(&mailbox, soon()).unwrap();
        assert!(held.exists());
        drop(lock);
        assert!(!held.exists());
    }

    #[test]
    fn a_lock_of_a_process_of_ours_that_is_gone_is_nobodys() {
        let dir = testkit::scratch();
        let mailbox = dir.path().join("mbox");
        let held = dir.path().join("mbox.lock");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let gone = format!("{} {}\n", child.id(), place());
        // The same number elsewhere, and one that is in use.
        for text in [
            format!("{} elsewhere\n", child.id()),
            format!("1 {}\n", place()),
        ] {
            fs::write(&held, text).unwrap();
            assert!(DotLock::take(&mailbox, soon()).is_err());
        }
        fs::write(&held, gone).unwrap();
        drop(DotLock::take(&mailbox, soon()).unwrap());
        fs::write(&held, format!("{} {}\n", std::process::id(), place())).unwrap();
        drop(DotLock::take(&mailbox, soon()).unwrap());
    }

    #[test]
    fn an_old_lock_is_nobodys() {
        let dir = testkit::scratch();
        let held = dir.path().join("mbox.lock");
        fs::write(&held, "").unwrap();
        let old = std::time::SystemTime::now() - STALE - Duration::from_secs(10);
        File::options()
            .write(true)
            .open(&held)
            .unwrap()
            .set_modified(old)
            .unwrap();
        drop(DotLock::take(&dir.path().join("mbox"), soon()).unwrap());
    }

    #[test]
    fn a_mailbox_that_was_replaced_is_opened_again() {
        let dir = testkit::scratch();
        let mailbox = dir.path().join("mbox");
        let opened = std::cell::Cell::new(0);
        let file = lock_file(&mailbox, soon(), || {
            opened.set(opened.get() + 1);
            let file = File::options().create(true).append(true).open(&mailbox)?;
            if opened.get() == 1 {
                fs::remove_file(&mailbox)?;
                fs::write(&mailbox, "new")?;
            }
            Ok(file)
        });
        assert_eq!(file.unwrap().metadata().unwrap().len(), 3);
        assert_eq!(opened.get(), 2);
    }
}
