// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `rdma`.

wire_struct! {
    /// Data of `RDMA_GID_STATUS_CHANGED`: the guest's driver of a paravirtual RDMA device added or removed a global identifier (GID).
    RdmaGidStatusChanged {
        required {
            /// Name of the Ethernet device that carries the RDMA traffic.
            netdev: Box<str> = "netdev",
            /// True when the identifier was added, false when it was removed.
            gid_status: bool = "gid-status",
            /// First half of the identifier.
            subnet_prefix: u64 = "subnet-prefix",
            /// Second half of the identifier; uses all 64 bits.
            interface_id: u64 = "interface-id",
        }
        recent {}
        optional {}
        printed {
            netdev = "netdev",
            interface_id = "interface-id",
            gid_status = "gid-status",
            subnet_prefix = "subnet-prefix",
        }
    }
}
