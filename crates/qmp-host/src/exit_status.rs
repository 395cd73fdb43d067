//! The exit status of a process that is not a child of this one.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// The requested members, and in the reply the present ones.
const EXIT: u64 = 1 << 3;

/// Information of Linux about a process: its first 64 bytes, which every release with the request fills in.
///
/// Source: Linux `include/uapi/linux/pidfd.h`, `struct pidfd_info`.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    control_group: u64,
    /// Process, thread group, parent, and eight users and groups.
    ids: [u32; 11],
    /// In the form of wait(2).
    exit_code: i32,
}

const GET_INFO: Opcode = opcode::read_write::<PidfdInfo>(0xff, 11);

/// Returns how the process of this pidfd ended; `None` while it lives, or while its parent has not reaped it.
///
/// # Errors
///
/// The error of the request: `ENOTTY` or `EINVAL` before Linux 6.13. Linux 6.13 and 6.14 never return a status.
pub fn exit_status(process: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: the request reads and writes one `PidfdInfo`, whose size is part of its number, and nothing else;
    // every pattern of bits is a valid one. A descriptor that is not a pidfd refuses the request.
    let asked = unsafe { ioctl(process, Updater::<GET_INFO, PidfdInfo>::new(&mut info)) };
    match asked {
        Ok(()) => Ok((info.mask & EXIT != 0).then(|| ExitStatus::from_raw(info.exit_code))),
        // The process ended and its status is lost: its parent reaped it before the descriptor was opened.
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
