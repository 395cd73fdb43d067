//! How a process ended that is no child of this one.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

/// The members that are asked for, and in the answer those that are there.
const EXIT: u64 = 1 << 3;

/// What Linux says of a process: its first 64 bytes, which every release with the request fills in.
///
/// Source: Linux `include/uapi/linux/pidfd.h`, `struct pidfd_info`.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    control_group: u64,
    /// Process, thread group, parent, and eight users and groups.
    ids: [u32; 11],
    /// As wait(2) gives it.
    exit_code: i32,
}

const GET_INFO: Opcode = opcode::read_write::<PidfdInfo>(0xff, 11);

/// How the process of this pidfd ended; `None` as long as it lives, or its parent has not taken notice of its end.
///
/// # Errors
///
/// That of the request: `ENOTTY` or `EINVAL` before Linux 6.13. Linux 6.13 and 6.14 never tell how one ended.
pub fn exit_status(process: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: the request reads and writes one `PidfdInfo`, whose size is part of its number, and nothing else; every
    // pattern of bits is one. A descriptor that is no pidfd refuses it.
    let asked = unsafe { ioctl(process, Updater::<GET_INFO, PidfdInfo>::new(&mut info)) };
    match asked {
        Ok(()) => Ok((info.mask & EXIT != 0).then(|| ExitStatus::from_raw(info.exit_code))),
        // It ended and was not kept: its parent reaped it before the descriptor was opened.
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
