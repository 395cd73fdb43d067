#!/bin/busybox sh
# The first and only program of the guest: mounts what the kernel offers and runs the lines that come over the second
# serial port. Each has a word before it, which is written when the line has ended, with its status.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

# load MODULE...: loads each with what it needs, in the order in which its list has them.
load() {
  for module; do
    while read -r each; do
      [ -d "/sys/module/$each" ] || insmod "/modules/$each.ko" || return
    done <"/modules/$module.needs"
  done
}

stty raw -echo </dev/ttyS1
exec </dev/ttyS1 >/dev/ttyS1 2>&1
echo ready
while read -r word line; do
  eval "$line"
  echo "$word $?"
done
