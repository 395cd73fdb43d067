// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `net`.

wire_struct! {
    /// Data of `FAILOVER_NEGOTIATED`: the guest's driver accepted virtio-net failover, so the hidden primary device is being plugged in.
    FailoverNegotiated {
        required {
            /// Identifier of the virtio-net device, the standby of the pair.
            device_id: Box<str> = "device-id",
        }
        recent {}
        optional {}
        printed {
            device_id = "device-id",
        }
    }
}

wire_struct! {
    /// Data of `NETDEV_STREAM_CONNECTED`: a stream network backend has its peer.
    NetdevStreamConnected {
        required {
            /// Identifier of the network backend.
            netdev_id: Box<str> = "netdev-id",
            /// Address of the peer.
            addr: super::sockets::SocketAddress = "addr",
        }
        recent {}
        optional {}
        printed {
            netdev_id = "netdev-id",
            addr = "addr",
        }
    }
}

wire_struct! {
    /// Data of `NETDEV_STREAM_DISCONNECTED`: a stream network backend lost its peer.
    NetdevStreamDisconnected {
        required {
            /// Identifier of the network backend.
            netdev_id: Box<str> = "netdev-id",
        }
        recent {}
        optional {}
        printed {
            netdev_id = "netdev-id",
        }
    }
}

wire_struct! {
    /// Data of `NETDEV_VHOST_USER_CONNECTED`: a vhost-user network backend has its process on the other end.
    NetdevVhostUserConnected {
        required {
            /// Identifier of the network backend.
            netdev_id: Box<str> = "netdev-id",
            /// Identifier of the character device that it talks through.
            chardev_id: Box<str> = "chardev-id",
        }
        recent {}
        optional {}
        printed {
            netdev_id = "netdev-id",
            chardev_id = "chardev-id",
        }
    }
}

wire_struct! {
    /// Data of `NETDEV_VHOST_USER_DISCONNECTED`: a vhost-user network backend lost the process on the other end.
    NetdevVhostUserDisconnected {
        required {
            /// Identifier of the network backend.
            netdev_id: Box<str> = "netdev-id",
        }
        recent {}
        optional {}
        printed {
            netdev_id = "netdev-id",
        }
    }
}

wire_struct! {
    /// Data of `NIC_RX_FILTER_CHANGED`: the guest changed which frames a network device is to receive.
    NicRxFilterChanged {
        required {
            /// Path of the device in the object tree.
            path: Box<str> = "path",
        }
        recent {}
        optional {
            /// Identifier of the network device; absent when it has none.
            name: Box<str> = "name",
        }
        printed {
            name = "name",
            path = "path",
        }
    }
}
