// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `run-state`.

wire_enum! {
    /// What made the machine shut down or reset.
    ShutdownCause {
        /// Nothing; used inside QEMU, not seen in events. Since 4.0.
        None = "none",
        /// An error on the host that QEMU cannot go on after. Since 4.0.
        HostError = "host-error",
        /// The command `quit`. Since 4.0.
        HostQmpQuit = "host-qmp-quit",
        /// The command `system_reset`. Since 4.0.
        HostQmpSystemReset = "host-qmp-system-reset",
        /// A signal to the QEMU process: SIGINT, SIGTERM or SIGHUP. Since 4.0.
        HostSignal = "host-signal",
        /// The user closed the window. Since 4.0.
        HostUi = "host-ui",
        /// The guest switched itself off, hibernated, or asked for it through pvpanic. Since 4.0.
        GuestShutdown = "guest-shutdown",
        /// The guest, or its watchdog, reset the machine; in SHUTDOWN because QEMU is configured to shut down instead. Since 4.0.
        GuestReset = "guest-reset",
        /// The guest panicked and QEMU is configured to shut down then. Since 4.0.
        GuestPanic = "guest-panic",
        /// A reset of part of the machine on s390x; used inside QEMU, not seen in events. Since 4.0.
        SubsystemReset = "subsystem-reset",
        /// Loading a snapshot; used inside QEMU, not seen in events. Since 7.2.
        SnapshotLoad = "snapshot-load",
    }
}

wire_enum! {
    /// What QEMU does when a watchdog expires.
    WatchdogAction {
        /// Resets the machine. Since 0.13.
        Reset = "reset",
        /// Presses the power button, as `system_powerdown` does; the guest may obey. Since 0.13.
        Shutdown = "shutdown",
        /// Ends QEMU on the spot. Since 0.13.
        Poweroff = "poweroff",
        /// Stops the VM. Since 0.13.
        Pause = "pause",
        /// Prints a message and lets the VM go on. Since 0.13.
        Debug = "debug",
        /// Does nothing. Since 0.13.
        None = "none",
        /// Gives the guest a non-maskable interrupt. Since 2.4.
        InjectNmi = "inject-nmi",
    }
}

wire_enum! {
    /// What QEMU does when the guest panics.
    GuestPanicAction {
        /// Stops the VM. Since 1.5.
        Pause = "pause",
        /// Stops the VM and shuts it down. Since 2.8.
        Poweroff = "poweroff",
        /// Lets the VM go on. Since 5.0.
        Run = "run",
    }
}

wire_enum! {
    /// Kind of the details on a panic, which decides over the other members.
    GuestPanicInformationType {
        /// Crash registers of the Hyper-V interface. Since 2.9.
        HyperV = "hyper-v",
        /// State of an s390x processor. Since 2.12.
        S390 = "s390",
        /// Report of an Intel TDX guest. Since 10.1.
        Tdx = "tdx",
        /// Termination request of an AMD SEV-ES guest. Since 11.0.
        Sev = "sev",
    }
}

wire_enum! {
    /// How an s390x processor crashed.
    S390CrashReason {
        /// Not known. Since 2.12.
        Unknown = "unknown",
        /// It waits with all interrupts off. Since 2.12.
        DisabledWait = "disabled-wait",
        /// It is caught in a loop of external interrupts. Since 2.12.
        ExtintLoop = "extint-loop",
        /// It is caught in a loop of program interrupts. Since 2.12.
        PgmintLoop = "pgmint-loop",
        /// It is caught in a loop of operation exceptions. Since 2.12.
        OpintLoop = "opint-loop",
    }
}

wire_enum! {
    /// Whose memory failed.
    MemoryFailureRecipient {
        /// Memory of the QEMU process itself. Since 5.2.
        Hypervisor = "hypervisor",
        /// Memory that the guest sees. Since 5.2.
        Guest = "guest",
    }
}

wire_enum! {
    /// What QEMU did about failed memory.
    MemoryFailureAction {
        /// Nothing; the failure did not ask for it. Since 5.2.
        Ignore = "ignore",
        /// It passed the failure on to the guest as a machine check. Since 5.2.
        Inject = "inject",
        /// It gave up; with recipient `hypervisor` QEMU exits. Since 5.2.
        Fatal = "fatal",
        /// It reset the guest, which was not ready to handle the failure. Since 5.2.
        Reset = "reset",
    }
}

wire_union! {
    /// What is known about a panic.
    GuestPanicInformation by "type" {
        /// Crash registers of the Hyper-V interface. Since 2.9.
        HyperV(GuestPanicInformationHyperV) = "hyper-v",
        /// State of an s390x processor. Since 2.12.
        S390(GuestPanicInformationS390) = "s390",
        /// Report of an Intel TDX guest. Since 10.1.
        Tdx(GuestPanicInformationTdx) = "tdx",
        /// Termination request of an AMD SEV-ES guest. Since 11.0.
        Sev(GuestPanicInformationSev) = "sev",
    }
}

wire_struct! {
    /// The five crash registers of the Hyper-V interface; their meaning is the guest's.
    GuestPanicInformationHyperV {
        required {
            /// Windows: the stop code. Linux: an error code.
            arg1: u64 = "arg1",
            /// Windows: first parameter of the stop. Linux: an identifier that holds the kernel version.
            arg2: u64 = "arg2",
            /// Windows: second parameter of the stop. Linux: the program counter.
            arg3: u64 = "arg3",
            /// Windows: third parameter of the stop. Linux: RAX on x86, the stack pointer on Arm.
            arg4: u64 = "arg4",
            /// Windows: fourth parameter of the stop. Linux on x86: the stack pointer.
            arg5: u64 = "arg5",
        }
        recent {}
        optional {}
        printed {
            arg5 = "arg5",
            arg4 = "arg4",
            arg3 = "arg3",
            arg2 = "arg2",
            arg1 = "arg1",
        }
    }
}

wire_struct! {
    /// State of the s390x processor that crashed.
    GuestPanicInformationS390 {
        required {
            /// Number of the processor.
            core: u32 = "core",
            /// Control bits of its program status word.
            psw_mask: u64 = "psw-mask",
            /// Address of its instruction.
            psw_addr: u64 = "psw-addr",
            /// How it crashed.
            reason: S390CrashReason = "reason",
        }
        recent {}
        optional {}
        printed {
            core = "core",
            psw_addr = "psw-addr",
            reason = "reason",
            psw_mask = "psw-mask",
        }
    }
}

wire_struct! {
    /// What an Intel TDX guest reported as fatal.
    GuestPanicInformationTdx {
        required {
            /// Code that the guest chose.
            error_code: u32 = "error-code",
            /// Text of the guest for people; untrusted.
            message: Box<str> = "message",
        }
        recent {}
        optional {
            /// Guest-physical address of a page with a longer text; absent when the guest named none.
            gpa: u64 = "gpa",
        }
        printed {
            error_code = "error-code",
            message = "message",
            gpa = "gpa",
        }
    }
}

wire_struct! {
    /// With which code an AMD SEV-ES guest asked to be ended.
    GuestPanicInformationSev {
        required {
            /// Which list of codes `code` is from.
            set: u32 = "set",
            /// The code.
            code: u32 = "code",
        }
        recent {}
        optional {}
        printed {
            code = "code",
            set = "set",
        }
    }
}

wire_struct! {
    /// More about failed memory.
    MemoryFailureFlags {
        required {
            /// Whether the failure had to be dealt with at once, because the memory was being used.
            action_required: bool = "action-required",
            /// Whether it came while an earlier failure was still being dealt with.
            recursive: bool = "recursive",
        }
        recent {}
        optional {}
        printed {
            recursive = "recursive",
            action_required = "action-required",
        }
    }
}

wire_struct! {
    /// Data of `GUEST_CRASHLOADED`: the guest panicked, but deals with it itself, for instance in a crash kernel that writes a dump.
    GuestCrashloaded {
        required {
            /// What QEMU does.
            action: GuestPanicAction = "action",
        }
        recent {}
        optional {
            /// Details, where the guest gave any.
            info: GuestPanicInformation = "info",
        }
        printed {
            action = "action",
            info = "info",
        }
    }
}

wire_struct! {
    /// Data of `GUEST_PANICKED`: the guest's operating system panicked.
    GuestPanicked {
        required {
            /// What QEMU does.
            action: GuestPanicAction = "action",
        }
        recent {}
        optional {
            /// Details, where the guest gave any. Since 2.9.
            info: GuestPanicInformation = "info",
        }
        printed {
            action = "action",
            info = "info",
        }
    }
}

wire_struct! {
    /// Data of `MEMORY_FAILURE`: the host's hardware reported failed memory.
    MemoryFailure {
        required {
            /// Whose memory it was.
            recipient: MemoryFailureRecipient = "recipient",
            /// What QEMU did about it.
            action: MemoryFailureAction = "action",
            /// More about the failure.
            flags: MemoryFailureFlags = "flags",
        }
        recent {}
        optional {}
        printed {
            flags = "flags",
            recipient = "recipient",
            action = "action",
        }
    }
}

wire_struct! {
    /// Data of `RESET`: the machine was reset.
    Reset {
        required {}
        recent {
            /// Whether the guest caused it; follows from `reason`. Since 2.10.
            guest: bool = "guest",
            /// What caused it: `host-qmp-system-reset` or `guest-reset`. Since 4.0.
            reason: ShutdownCause = "reason",
        }
        optional {}
        printed {
            guest = "guest",
            reason = "reason",
        }
    }
}

wire_struct! {
    /// Data of `SHUTDOWN`: the VM has shut down, and QEMU is about to exit unless it was configured to stay.
    Shutdown {
        required {}
        recent {
            /// Whether the guest caused it; follows from `reason`. Since 2.10.
            guest: bool = "guest",
            /// What caused it. Since 4.0.
            reason: ShutdownCause = "reason",
        }
        optional {}
        printed {
            guest = "guest",
            reason = "reason",
        }
    }
}

wire_struct! {
    /// Data of `WATCHDOG`: a watchdog expired: the guest has not reset it in time.
    Watchdog {
        required {
            /// What QEMU does about it.
            action: WatchdogAction = "action",
        }
        recent {}
        optional {}
        printed {
            action = "action",
        }
    }
}
