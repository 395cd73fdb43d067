//! The command line of a QEMU: the VM's name, and its monitors.
//!
//! Options are read as QEMU reads them: `key=value` between commas, a doubled comma is an escaped comma, a bare word is a
//! switch, and the first word of some options needs no key. Sources: QEMU's `qemu-options.hx` (documentation of
//! `-qmp`, `-mon`, `-chardev`, `-name`), measured on 7.2.

mod options;
mod purpose;

pub(crate) use options::{MonitorAt, Unreachable};
use options::{Options, chardev, readable, short_form};
pub(crate) use purpose::{Purpose, purpose};

/// The contents of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QemuCommand {
    pub(crate) name: Option<String>,
    pub(crate) uuid: Option<String>,
    /// Its QMP monitors, in the order of the command line.
    pub(crate) monitors: Vec<MonitorAt>,
}

/// Whether a program with that name is a QEMU that runs VMs.
pub(crate) fn is_qemu(program: &[u8]) -> bool {
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // The file of a running program was replaced by an update.
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    name.starts_with(b"qemu-system-") || matches!(name, b"qemu-kvm" | b"kvm" | b"qemu")
}

/// Reads the arguments after the program's name.
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
        /// For any command line of a process, reading it never fails, and finds no more monitors than
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
