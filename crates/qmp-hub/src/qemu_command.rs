//! The command line of a QEMU: what the VM is called, and where its monitors are.
//!
//! Options are written as QEMU reads them: `key=value` between commas, a doubled comma stands for one, a bare word is a
//! switch, and the first word of some options needs no key. Sources: QEMU's `qemu-options.hx` (documentation of
//! `-qmp`, `-mon`, `-chardev`, `-name`), measured on 7.2.

mod purpose;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

pub(crate) use purpose::{Purpose, purpose};

/// What a command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QemuCommand {
    pub(crate) name: Option<String>,
    pub(crate) uuid: Option<String>,
    /// Its QMP monitors, in the order of the command line.
    pub(crate) monitors: Vec<MonitorAt>,
}

/// Where a QMP monitor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MonitorAt {
    /// At a socket; a relative path is one of the QEMU's own directory.
    Unix(PathBuf),
    /// At a port; without a host it listens everywhere.
    Tcp { host: String, port: u16 },
    /// Nobody can connect to it.
    Unreachable(Unreachable),
}

/// Why nobody can connect to a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// Whoever started the QEMU opened the socket for it, and knows where.
    Descriptor,
    /// The QEMU connects to somebody.
    DialsOut,
    /// It is no socket: a pipe, a terminal, a ring buffer.
    NoSocket,
}

/// One option's value, taken apart.
struct Options(Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// Whether a program of that name is a QEMU that runs VMs.
pub(crate) fn is_qemu(program: &[u8]) -> bool {
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // A program that was replaced by an update while it runs.
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    name.starts_with(b"qemu-system-") || matches!(name, b"qemu-kvm" | b"kvm" | b"qemu")
}

/// Reads the arguments behind the program's name.
pub(crate) fn read(arguments: &[&[u8]]) -> QemuCommand {
    let mut command = QemuCommand::default();
    let mut chardevs: Vec<(Vec<u8>, MonitorAt)> = Vec::new();
    let mut mons: Vec<Vec<u8>> = Vec::new();
    let mut rest = arguments.iter();
    while let Some(option) = rest.next() {
        let Some(option) = option.strip_prefix(b"-") else { continue };
        let option = option.strip_prefix(b"-").unwrap_or(option);
        if !matches!(option, b"qmp" | b"qmp-pretty" | b"mon" | b"chardev" | b"name" | b"uuid") {
            continue;
        }
        let Some(value) = rest.next() else { break };
        match option {
            b"qmp" | b"qmp-pretty" => command.monitors.push(short_form(value)),
            b"chardev" => {
                let options = Options::read(value, b"backend");
                if let Some(id) = options.text(b"id") {
                    chardevs.push((id.to_owned(), chardev(&options)));
                }
            }
            b"mon" => {
                let options = Options::read(value, b"chardev");
                if options.text(b"mode") == Some(b"control") {
                    mons.extend(options.text(b"chardev").map(<[u8]>::to_owned));
                }
            }
            b"name" => {
                let name = Options::read(value, b"guest").text(b"guest").map(readable);
                command.name = name.filter(|name| !name.is_empty()).or(command.name);
            }
            _ => command.uuid = Some(readable(value)),
        }
    }
    let of_mon =
        |id: &Vec<u8>| chardevs.iter().rev().find(|(known, _)| known == id).map(|(_, at)| at.clone());
    command.monitors.extend(mons.iter().filter_map(of_mon));
    command
}

/// The value of `-qmp`: `unix:PATH,…`, `tcp:HOST:PORT,…`, and other devices.
fn short_form(value: &[u8]) -> MonitorAt {
    let options = Options::read(value, b"device");
    let device = options.text(b"device").unwrap_or_default();
    let at = if let Some(path) = device.strip_prefix(b"unix:") {
        MonitorAt::Unix(path_of(path))
    } else if let Some(place) = device.strip_prefix(b"tcp:") {
        let place = readable(place);
        // Options of old come behind the port without a comma, too; nothing else does.
        let (host, port) = place.rsplit_once(':').unwrap_or(("", &place));
        tcp(host, port)
    } else {
        MonitorAt::Unreachable(Unreachable::NoSocket)
    };
    reachable(at, &options)
}

/// The value of `-chardev`.
fn chardev(options: &Options) -> MonitorAt {
    if options.text(b"backend") != Some(b"socket") {
        return MonitorAt::Unreachable(Unreachable::NoSocket);
    }
    if options.has(b"fd") {
        return MonitorAt::Unreachable(Unreachable::Descriptor);
    }
    let at = match (options.text(b"path"), options.text(b"port")) {
        // An abstract socket has no file.
        (Some(_), _) if options.switch(b"abstract") => MonitorAt::Unreachable(Unreachable::NoSocket),
        (Some(path), _) => MonitorAt::Unix(path_of(path)),
        (None, Some(port)) => tcp(&options.text(b"host").map(readable).unwrap_or_default(), &readable(port)),
        (None, None) => MonitorAt::Unreachable(Unreachable::NoSocket),
    };
    reachable(at, options)
}

fn reachable(at: MonitorAt, options: &Options) -> MonitorAt {
    match at {
        MonitorAt::Unreachable(_) => at,
        at if options.switch(b"server") => at,
        _ => MonitorAt::Unreachable(Unreachable::DialsOut),
    }
}

fn tcp(host: &str, port: &str) -> MonitorAt {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Who listens everywhere listens here.
    let host = if matches!(host, "" | "0.0.0.0" | "::") { "127.0.0.1" } else { host };
    match port.parse() {
        Ok(port) if port != 0 => MonitorAt::Tcp { host: host.to_owned(), port },
        _ => MonitorAt::Unreachable(Unreachable::NoSocket),
    }
}

fn path_of(path: &[u8]) -> PathBuf {
    OsString::from_vec(path.to_owned()).into()
}

fn readable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl Options {
    /// Cuts at single commas. The first word is the value of `first_key` if it has no key of its own.
    fn read(value: &[u8], first_key: &[u8]) -> Self {
        let mut words = vec![Vec::new()];
        let mut bytes = value.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            if byte == b',' && bytes.next_if_eq(&b',').is_none() {
                words.push(Vec::new());
            } else if let Some(word) = words.last_mut() {
                word.push(byte);
            }
        }
        let option = |(index, word): (usize, Vec<u8>)| {
            let equals = word.iter().position(|byte| *byte == b'=');
            // A path may hold a '=': a key is a plain word.
            let equals = equals
                .filter(|at| word[..*at].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-'));
            match equals {
                Some(at) => (word[..at].to_owned(), Some(word[at + 1..].to_owned())),
                None if index == 0 => (first_key.to_owned(), Some(word)),
                None => (word, None),
            }
        };
        Self(words.into_iter().enumerate().map(option).collect())
    }

    /// The last value of a key, as QEMU takes it.
    fn text(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.iter().rev().find(|(name, _)| name == key).and_then(|(_, value)| value.as_deref())
    }

    fn has(&self, key: &[u8]) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }

    /// Whether a switch is on. `wait=off` has a counterpart of old, `nowait`, which is no switch that is asked for.
    fn switch(&self, key: &[u8]) -> bool {
        let last = self.0.iter().rev().find(|(name, _)| name == key);
        last.is_some_and(|(_, value)| {
            matches!(value.as_deref(), None | Some(b"on" | b"yes" | b"y" | b"true"))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn monitors_of_command_lines() {
        let libvirt = "-name guest=web1,debug-threads=on -S -uuid 9c1e8f4e-0001-4000-8000-000000000001 -no-user-config \
            -nodefaults -chardev socket,id=charmonitor,fd=29,server=on,wait=off -mon chardev=charmonitor,id=monitor,mode=control \
            -rtc base=utc -chardev socket,id=charchannel0,fd=31,server=on,wait=off -qmp unix:/run/hub/web1.sock,server=on,wait=off";
        let proxmox = "-id 100 -name web,debug-threads=on -no-shutdown \
            -chardev socket,id=qmp,path=/var/run/qemu-server/100.qmp,server=on,wait=off -mon chardev=qmp,mode=control \
            -chardev socket,id=qmp-event,path=/var/run/qmeventd.sock,reconnect=5 -mon chardev=qmp-event,mode=control \
            -pidfile /var/run/qemu-server/100.pid -daemonize";
        let incus = "-S -name prod_web1 -uuid 9c1e8f4e-0001-4000-8000-000000000002 -daemonize -cpu host -nographic \
            -chardev socket,id=monitor,path=/run/incus/prod_web1/qemu.monitor,server=on,wait=off -mon chardev=monitor,mode=control";
        //  name                arguments                                           what is read
        let cases: [(&str, &str, &str); 26] = [
            ("nothing", "-m 1G", "- -"),
            ("short", "-qmp unix:/run/a.sock,server=on,wait=off", "- - /run/a.sock"),
            ("old spelling", "-qmp unix:/run/a.sock,server,nowait", "- - /run/a.sock"),
            ("two dashes", "--qmp unix:/run/a.sock,server", "- - /run/a.sock"),
            ("pretty", "-qmp-pretty unix:a.sock,server=on", "- - a.sock"),
            ("dials out", "-qmp unix:/run/a.sock", "- - DialsOut"),
            ("dials out in words", "-qmp unix:/run/a.sock,server=off", "- - DialsOut"),
            ("tcp", "-qmp tcp:localhost:4444,server=on,wait=off", "- - localhost:4444"),
            ("tcp everywhere", "-qmp tcp::4444,server", "- - 127.0.0.1:4444"),
            ("tcp everywhere in words", "-qmp tcp:0.0.0.0:4444,server", "- - 127.0.0.1:4444"),
            ("tcp, IPv6", "-qmp tcp:[::1]:4444,server", "- - ::1:4444"),
            ("stdio", "-qmp stdio", "- - NoSocket"),
            ("comma in a path", "-qmp unix:/run/a,,b.sock,server=on", "- - /run/a,b.sock"),
            ("equals in a path", "-qmp unix:/run/a=b.sock,server=on", "- - /run/a=b.sock"),
            ("long", "-chardev socket,id=c,path=/c,server=on -mon chardev=c,mode=control", "- - /c"),
            ("long, implied key", "-mon c,mode=control -chardev socket,id=c,path=/c,server", "- - /c"),
            (
                "long, tcp",
                "-chardev socket,id=c,host=127.0.0.1,port=4,server=on -mon c,mode=control",
                "- - 127.0.0.1:4",
            ),
            ("human monitor", "-chardev socket,id=c,path=/c,server=on -mon chardev=c,mode=readline", "- -"),
            ("human monitor, implied", "-chardev socket,id=c,path=/c,server=on -mon chardev=c", "- -"),
            (
                "guest agent",
                "-chardev socket,id=qga,path=/qga,server=on -device virtserialport,chardev=qga",
                "- -",
            ),
            (
                "abstract",
                "-chardev socket,id=c,path=x,abstract=on,server=on -mon c,mode=control",
                "- - NoSocket",
            ),
            ("several", "-qmp unix:/a,server -qmp unix:/b,server -name x", "x - /a /b"),
            ("end in the middle", "-name x -qmp", "x -"),
            ("libvirt", libvirt, "web1 9c1e8f4e-0001-4000-8000-000000000001 /run/hub/web1.sock Descriptor"),
            ("Proxmox", proxmox, "web - /var/run/qemu-server/100.qmp DialsOut"),
            (
                "Incus",
                incus,
                "prod_web1 9c1e8f4e-0001-4000-8000-000000000002 /run/incus/prod_web1/qemu.monitor",
            ),
        ];
        for (case, arguments, expected) in cases {
            let arguments: Vec<&[u8]> = arguments.split_whitespace().map(str::as_bytes).collect();
            assert_eq!(shown(&read(&arguments)), expected, "{case}");
        }
    }

    #[test]
    fn programs_that_are_qemu() {
        let cases = [
            ("qemu-system-x86_64", true),
            ("/usr/bin/qemu-system-aarch64", true),
            ("/usr/libexec/qemu-kvm", true),
            ("/usr/bin/kvm", true),
            ("/usr/bin/qemu-system-x86_64 (deleted)", true),
            ("qemu-img", false),
            ("qemu-storage-daemon", false),
            ("/opt/kvm/bin/tool", false),
            ("", false),
        ];
        for (program, expected) in cases {
            assert_eq!(is_qemu(program.as_bytes()), expected, "{program}");
        }
    }

    proptest! {
        /// Whatever a process calls itself, reading its command line never fails, and finds no more monitors than
        /// options.
        #[test]
        fn anything_is_read(arguments in prop::collection::vec(
            prop_oneof!["-(qmp|mon|chardev|name|uuid)", "[a-z:=,/]{0,20}", "\\PC{0,10}"], 0..20)
        ) {
            let bytes: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
            prop_assert!(read(&bytes).monitors.len() <= bytes.len());
        }

        /// A path comes back however odd it is, once its commas are doubled.
        #[test]
        fn paths_are_read_as_qemu_writes_them(path in "/[a-z ,=:]{1,30}") {
            let argument = format!("unix:{},server=on,wait=off", path.replace(',', ",,"));
            let command = read(&[b"-qmp", argument.as_bytes()]);
            prop_assert_eq!(command.monitors, [MonitorAt::Unix(path.into())]);
        }
    }

    fn shown(command: &QemuCommand) -> String {
        let monitor = |monitor: &MonitorAt| match monitor {
            MonitorAt::Unix(path) => format!(" {}", path.display()),
            MonitorAt::Tcp { host, port } => format!(" {host}:{port}"),
            MonitorAt::Unreachable(why) => format!(" {why:?}"),
        };
        let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let monitors: String = command.monitors.iter().map(monitor).collect();
        format!("{} {}{monitors}", dash(&command.name), dash(&command.uuid))
    }
}
