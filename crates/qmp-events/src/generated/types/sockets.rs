// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `sockets`.

wire_enum! {
    /// Kind of a network address.
    NetworkAddressFamily {
        /// Internet protocol, version 4. Since 0.13.
        Ipv4 = "ipv4",
        /// Internet protocol, version 6. Since 0.13.
        Ipv6 = "ipv6",
        /// A unix domain socket. Since 0.13.
        Unix = "unix",
        /// A socket between host and guest. Since 2.8.
        Vsock = "vsock",
        /// Something else. Since 0.13.
        Unknown = "unknown",
    }
}

wire_enum! {
    /// Kind of a socket address, which decides over its other members.
    SocketAddressType {
        /// TCP. Since 7.2.
        Inet = "inet",
        /// A unix domain socket. Since 7.2.
        Unix = "unix",
        /// A socket between host and guest. Since 7.2.
        Vsock = "vsock",
        /// A socket that was handed over as a file descriptor. Since 7.2.
        Fd = "fd",
    }
}

wire_struct! {
    /// A TCP address, with the options of the connection.
    InetSocketAddress {
        required {
            /// Host name or address.
            host: Box<str> = "host",
            /// Port number or service name.
            port: Box<str> = "port",
        }
        recent {}
        optional {
            /// Whether host and port are numbers, so that no name is resolved.
            numeric: bool = "numeric",
            /// Last port of a range that begins at `port`.
            to: u16 = "to",
            /// Whether IPv4 is allowed.
            ipv4: bool = "ipv4",
            /// Whether IPv6 is allowed.
            ipv6: bool = "ipv6",
            /// Whether TCP keep-alive is on.
            keep_alive: bool = "keep-alive",
            /// How many probes may stay unanswered before the connection is given up; 0 for the system's setting. Since 10.1.
            keep_alive_count: u32 = "keep-alive-count",
            /// How long the connection is idle before the first probe; 0 for the system's setting. Unit: seconds. Since 10.1.
            keep_alive_idle: u32 = "keep-alive-idle",
            /// Time between probes; 0 for the system's setting. Unit: seconds. Since 10.1.
            keep_alive_interval: u32 = "keep-alive-interval",
            /// Whether multipath TCP is on.
            mptcp: bool = "mptcp",
        }
        printed {
            numeric = "numeric",
            port = "port",
            mptcp = "mptcp",
            keep_alive_interval = "keep-alive-interval",
            ipv6 = "ipv6",
            ipv4 = "ipv4",
            keep_alive_idle = "keep-alive-idle",
            host = "host",
            keep_alive = "keep-alive",
            to = "to",
            keep_alive_count = "keep-alive-count",
        }
    }
}

wire_struct! {
    /// Address of a unix domain socket.
    UnixSocketAddress {
        required {
            /// Path in the file system, or the abstract name.
            path: Box<str> = "path",
        }
        recent {}
        optional {
            /// Whether the name is a Linux abstract one.
            r#abstract: bool = "abstract",
            /// Whether an abstract name ends where its text ends; otherwise it is padded with zero bytes to the full length.
            tight: bool = "tight",
        }
        printed {
            r#abstract = "abstract",
            path = "path",
            tight = "tight",
        }
    }
}

wire_struct! {
    /// Address of a socket between host and guest.
    VsockSocketAddress {
        required {
            /// Context identifier, which stands for the host or one guest.
            cid: Box<str> = "cid",
            /// Port.
            port: Box<str> = "port",
        }
        recent {}
        optional {}
        printed {
            port = "port",
            cid = "cid",
        }
    }
}

wire_struct! {
    /// A socket that was handed over as a file descriptor.
    FdSocketAddress {
        required {
            /// Number of the file descriptor, or its name if `getfd` gave it one.
            str: Box<str> = "str",
        }
        recent {}
        optional {}
        printed {
            str = "str",
        }
    }
}

wire_union! {
    /// Address of a socket of any kind.
    SocketAddress by "type" {
        /// TCP. Since 7.2.
        Inet(InetSocketAddress) = "inet",
        /// A unix domain socket. Since 7.2.
        Unix(UnixSocketAddress) = "unix",
        /// A socket between host and guest. Since 7.2.
        Vsock(VsockSocketAddress) = "vsock",
        /// A socket that was handed over as a file descriptor. Since 7.2.
        Fd(FdSocketAddress) = "fd",
    }
}
