# Starts dbus-daemon, polkitd and libvirtd. Runs in a mount namespace of its own; $1 is a directory outside of it.
home=$1
mount --make-rprivate /
for directory in /run /var/lib /var/cache /var/log /usr/share/polkit-1/actions; do
    mount -t tmpfs tmpfs "$directory"
done
cp -a /etc "$home/etc"
mount --bind "$home/etc" /etc
mkdir -p /etc/polkit-1/rules.d /etc/libvirt /run/dbus "$home/sockets"
cp "$home/org.libvirt.policy" /usr/share/polkit-1/actions/
cp "$home/50-qmp-events.rules" /etc/polkit-1/rules.d/
sed -i 's/^nobody:/qmp-events:/' /etc/passwd
echo 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin' >>/etc/passwd
printf 'kvm:x:64056:\nlibvirt-qemu:x:64055:\n' >>/etc/group
cat >/etc/libvirt/libvirtd.conf <<END
unix_sock_dir = "$home/sockets"
unix_sock_rw_perms = "0666"
auth_unix_rw = "polkit"
access_drivers = ["polkit"]
END
cat >/etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
cgroup_controllers = []
namespaces = []
security_driver = "none"
stdio_handler = "file"
END
dbus-daemon --system --nofork --nopidfile &
echo $! >>"$home/pids"
tries=0
until [ -S /run/dbus/system_bus_socket ] || [ "$tries" -gt 600 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
/usr/lib/polkit-1/polkitd --no-debug &
echo $! >>"$home/pids"
exec /usr/sbin/libvirtd
