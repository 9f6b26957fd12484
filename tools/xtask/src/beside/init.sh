#!/bin/busybox sh
# First process of each of the two Linux machines: brings the link up. The second then obeys the first, which takes
# the samples; when it ends, both do.
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp /run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
machine=$(sed 's/.*dunlin.machine=//' /proc/cmdline)
hostname machine-$machine
ip link set lo up
ip addr add 10.0.0.$machine/24 dev eth0
ip link set eth0 up
if [ $machine = 2 ]; then
    trials link echo &
    trials link sink &
    nc -ll -p 7001 -e /bin/sh
else
    # What leaves takes its pid along: the other machine must not have that.
    echo 20000 >/proc/sys/kernel/ns_last_pid
    . /samples.sh
fi
poweroff -f
