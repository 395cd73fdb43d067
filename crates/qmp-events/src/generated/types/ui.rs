// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! Types of the QAPI module `ui`.

wire_struct! {
    /// One end of a SPICE connection.
    SpiceBasicInfo {
        required {
            /// Address.
            host: Box<str> = "host",
            /// Port number as text.
            port: Box<str> = "port",
            /// Kind of the address.
            family: super::sockets::NetworkAddressFamily = "family",
        }
        recent {}
        optional {}
        printed {
            port = "port",
            family = "family",
            host = "host",
        }
    }
}

wire_struct! {
    /// The server's end of a SPICE connection.
    SpiceServerInfo {
        required {
            /// Address.
            host: Box<str> = "host",
            /// Port number as text.
            port: Box<str> = "port",
            /// Kind of the address.
            family: super::sockets::NetworkAddressFamily = "family",
        }
        recent {}
        optional {
            /// How the client proved who it is.
            auth: Box<str> = "auth",
        }
        printed {
            auth = "auth",
            port = "port",
            family = "family",
            host = "host",
        }
    }
}

wire_struct! {
    /// The client's end of one SPICE channel.
    SpiceChannel {
        required {
            /// Address.
            host: Box<str> = "host",
            /// Port number as text.
            port: Box<str> = "port",
            /// Kind of the address.
            family: super::sockets::NetworkAddressFamily = "family",
            /// The same number for all channels of one session; may be negative.
            connection_id: i64 = "connection-id",
            /// Kind of the channel in the SPICE protocol; 1 is the main channel, of which a session has one.
            channel_type: i64 = "channel-type",
            /// Tells channels of one kind apart; 0 for the first.
            channel_id: i64 = "channel-id",
            /// Whether the channel is encrypted.
            tls: bool = "tls",
        }
        recent {}
        optional {}
        printed {
            port = "port",
            family = "family",
            channel_type = "channel-type",
            connection_id = "connection-id",
            host = "host",
            channel_id = "channel-id",
            tls = "tls",
        }
    }
}

wire_struct! {
    /// The client's end of a VNC connection, before it has said who it is.
    VncBasicInfo {
        required {
            /// Address; empty for a unix socket.
            host: Box<str> = "host",
            /// Port number as text; for a unix socket its path.
            service: Box<str> = "service",
            /// Kind of the address.
            family: super::sockets::NetworkAddressFamily = "family",
        }
        recent {
            /// Whether the connection is a WebSocket. Since 2.3.
            websocket: bool = "websocket",
        }
        optional {}
        printed {
            family = "family",
            service = "service",
            host = "host",
            websocket = "websocket",
        }
    }
}

wire_struct! {
    /// The server's end of a VNC connection.
    VncServerInfo {
        required {
            /// Address; empty for a unix socket.
            host: Box<str> = "host",
            /// Port number as text; for a unix socket its path.
            service: Box<str> = "service",
            /// Kind of the address.
            family: super::sockets::NetworkAddressFamily = "family",
        }
        recent {
            /// Whether the listener is for WebSockets. Since 2.3.
            websocket: bool = "websocket",
        }
        optional {
            /// How clients prove who they are: about twenty values, such as `none`, `vnc`, `sasl` or `vencrypt+x509+sasl`.
            auth: Box<str> = "auth",
        }
        printed {
            auth = "auth",
            family = "family",
            service = "service",
            host = "host",
            websocket = "websocket",
        }
    }
}

wire_struct! {
    /// The client's end of a VNC connection, and who it is.
    VncClientInfo {
        required {
            /// Address; empty for a unix socket.
            host: Box<str> = "host",
            /// Port number as text; for a unix socket its path.
            service: Box<str> = "service",
            /// Kind of the address.
            family: super::sockets::NetworkAddressFamily = "family",
        }
        recent {
            /// Whether the connection is a WebSocket. Since 2.3.
            websocket: bool = "websocket",
        }
        optional {
            /// Distinguished name in the client's certificate; absent without one.
            x509_dname: Box<str> = "x509_dname",
            /// Name that the client gave by SASL; absent without SASL.
            sasl_username: Box<str> = "sasl_username",
        }
        printed {
            family = "family",
            service = "service",
            x509_dname = "x509_dname",
            host = "host",
            websocket = "websocket",
            sasl_username = "sasl_username",
        }
    }
}

wire_struct! {
    /// Data of `SPICE_CONNECTED`: a SPICE client opened a connection for a channel.
    SpiceConnected {
        required {
            /// The server's end.
            server: SpiceBasicInfo = "server",
            /// The client's end.
            client: SpiceBasicInfo = "client",
        }
        recent {}
        optional {}
        printed {
            server = "server",
            client = "client",
        }
    }
}

wire_struct! {
    /// Data of `SPICE_DISCONNECTED`: the connection of a SPICE channel was closed.
    SpiceDisconnected {
        required {
            /// The server's end.
            server: SpiceBasicInfo = "server",
            /// The client's end.
            client: SpiceBasicInfo = "client",
        }
        recent {}
        optional {}
        printed {
            server = "server",
            client = "client",
        }
    }
}

wire_struct! {
    /// Data of `SPICE_INITIALIZED`: a SPICE channel is up: the client has proved who it is, and the channel works.
    SpiceInitialized {
        required {
            /// The server's end.
            server: SpiceServerInfo = "server",
            /// The client's end, and the channel.
            client: SpiceChannel = "client",
        }
        recent {}
        optional {}
        printed {
            server = "server",
            client = "client",
        }
    }
}

wire_struct! {
    /// Data of `VNC_CONNECTED`: a VNC client opened a connection.
    VncConnected {
        required {
            /// The server's end.
            server: VncServerInfo = "server",
            /// The client's end.
            client: VncBasicInfo = "client",
        }
        recent {}
        optional {}
        printed {
            server = "server",
            client = "client",
        }
    }
}

wire_struct! {
    /// Data of `VNC_DISCONNECTED`: the connection of a VNC client was closed.
    VncDisconnected {
        required {
            /// The server's end.
            server: VncServerInfo = "server",
            /// The client's end.
            client: VncClientInfo = "client",
        }
        recent {}
        optional {}
        printed {
            server = "server",
            client = "client",
        }
    }
}

wire_struct! {
    /// Data of `VNC_INITIALIZED`: a VNC client has proved who it is, where that is asked for, and its session has begun.
    VncInitialized {
        required {
            /// The server's end.
            server: VncServerInfo = "server",
            /// The client's end.
            client: VncClientInfo = "client",
        }
        recent {}
        optional {}
        printed {
            server = "server",
            client = "client",
        }
    }
}
