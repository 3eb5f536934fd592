#!/bin/busybox sh
# The inside of the test VM. vm.py packs this into the initramfs as /init, with busybox, the
# kernel's modules, the settings (/config) and the command. The stages, in order:
#
#   boot    in the initramfs: make the root file system, the host's under a layer to throw away
#   setup   in that root: what a system prepares when it starts (devices, user, swap, cgroups)
#   run     the command: its output, its exit status
#
# Each is started anew: with --systemd, systemd stands between setup and run.
# The shell runs busybox's own applets, by way of /proc; the command gets the host's /bin/sh.

# MODULES MODE SWAP RUN_AS SYSTEMD END_MARK: see Machine.initramfs in vm.py
# shellcheck source=/dev/null
. "${0%/*}/config"

VM=/run/vm
CGROUP=/sys/fs/cgroup

# Give up. vm.py looks for this line on the console; what goes by way of the kernel's log gets there
# before the power is off.
die() {
    echo "<0>vm: $*" >/dev/kmsg
    poweroff -f
}

boot() {
    /bin/busybox mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev
    exec </dev/console >/dev/console 2>&1
    for module in $MODULES; do
        insmod "/modules/$module.ko" || die "cannot load module: $module"
    done
    # cache=loose: never ask the host again for what was read once.
    mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose root /lower ||
        die "cannot mount the host's root"
    mount -t tmpfs -o mode=755 upper /upper
    mkdir /upper/files /upper/work
    mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work root /new ||
        die "cannot mount the root"
    mount -t tmpfs -o mode=755 run /new/run
    mkdir /new$VM
    cp /bin/busybox /init /config /command /new$VM/
    for dir in sys dev proc; do mount --move /$dir /new/$dir; done
    exec /bin/busybox switch_root /new $VM/busybox sh $VM/init setup
}

setup() {
    ifconfig lo up
    add_user tester 4242
    chmod a+rx /root # the Python interpreter may live there
    if [ "$SWAP" ]; then
        { mkswap "$SWAP" >/dev/null && swapon "$SWAP"; } || die "cannot swap on $SWAP"
    fi
    [ -z "$SYSTEMD" ] || start_systemd
    mkdir /dev/pts /dev/shm
    mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
    mount -t tmpfs -o mode=1777 shm /dev/shm
    ln -sf pts/ptmx /dev/ptmx
    ln -s /proc/self/fd /dev/fd
    ln -s fd/0 /dev/stdin
    ln -s fd/1 /dev/stdout
    ln -s fd/2 /dev/stderr
    hostname vm
    mount_cgroups
    exec $VM/busybox sh $VM/init run
}

add_user() { # NAME ID
    echo "$1:x:$2:$2::/home/$1:/bin/sh" >>/etc/passwd
    echo "$1:x:$2:" >>/etc/group
    echo "$1:*:19000::::::" >>/etc/shadow
    echo "$1:100000:65536" | tee -a /etc/subuid >>/etc/subgid
    mkdir "/home/$1"
    chown "$2:$2" "/home/$1"
}

# Become systemd, which does the rest of setup itself. Of what starts along with it only the journal,
# the bus and logins are kept: by taking away the links, not the units, which a test may start.
start_systemd() {
    lib=/lib/systemd
    [ -x $lib/systemd ] || die "no systemd: install systemd dbus-user-session libpam-systemd"
    rm -f /.dockerenv # systemd would take this for a container
    [ -s /etc/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
    rm -rf /etc/systemd/system/*.wants /etc/systemd/user/*.wants $lib/system-generators/*
    find $lib/system/*.wants -type l ! -name 'systemd-journald*' ! -name 'dbus.*' -exec rm {} +
    mkdir -p /run/systemd/system
    cat >/run/systemd/system/vm.target <<-EOF
	[Unit]
	Description=What a login needs, and the command
	Requires=basic.target dbus.socket systemd-logind.service
	Wants=vm-run.service
	AllowIsolate=yes
	EOF
    cat >/run/systemd/system/vm-run.service <<-EOF
	[Unit]
	Description=Log in and run the command
	After=basic.target dbus.socket systemd-logind.service
	[Service]
	ExecStart=$VM/busybox sh $VM/init run
	OOMPolicy=continue
	EOF
    exec $lib/systemd
}

# In the places and with the options that systemd has for each mode.
mount_cgroups() {
    if [ "$MODE" = v2 ]; then
        mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 $CGROUP
        return
    fi
    mount -t tmpfs -o mode=755 tmpfs $CGROUP
    while read -r name _ _ enabled; do
        case $MODE:$name in mixed:memory | mixed:cpuset) continue ;; esac
        [ "$enabled" = 1 ] || continue
        mkdir "$CGROUP/$name"
        # A kernel may list a controller that it has for v2 only.
        mount -t cgroup -o "$name" cgroup "$CGROUP/$name" 2>/dev/null || rmdir "$CGROUP/$name"
    done </proc/cgroups
    [ "$MODE" = v1 ] && return
    mkdir $CGROUP/unified
    mount -t cgroup2 -o nsdelegate cgroup2 $CGROUP/unified
}

# The kernel has the last word: see that the layout is the one asked for, unless a test has switched
# controllers off and says so on the command line.
check_cgroups() {
    case $(cat /proc/cmdline) in *any-layout*) return ;; esac
    case $MODE in
    v1 | hybrid) [ -e $CGROUP/memory/memory.limit_in_bytes ] || lacks memory v1 ;;
    v2) grep -qw memory $CGROUP/cgroup.controllers || lacks memory v2 ;;
    mixed)
        for name in memory cpuset; do
            grep -qw $name $CGROUP/unified/cgroup.controllers || lacks $name v2
        done
        ;;
    esac
}

lacks() { # CONTROLLER VERSION
    die "no mode $MODE with kernel $(uname -r): it has no $1 controller on cgroup $2"
}

run() {
    check_cgroups
    until set -- /dev/vport*p1 && [ -c "$1" ]; do sleep 0.02; done
    # A port can be opened once only; with a pipe before it, /dev/stdout works too. The end mark
    # takes the same way as the output and so stays behind it, whoever else still holds the pipe.
    {
        chmod a+rw /dev/fd/1
        if [ "$SYSTEMD" ]; then
            # A login, through PAM, as sshd makes it: in a session of its own, which has a number
            # (of the audit subsystem), beside the manager of the user.
            echo "$(id -u "$RUN_AS")" >/proc/self/loginuid
            env -i XDG_SESSION_CLASS=user XDG_SESSION_TYPE=tty \
                /bin/su --login --shell /bin/sh --command ". $VM/command" "$RUN_AS"
        else
            setsid env -i $VM/busybox su -s /bin/sh -c ". $VM/command" "$RUN_AS"
        fi
        printf '%s %s\n' "$END_MARK" $?
    } </dev/null 2>&1 | cat >"$1"
    sleep 60 # vm.py pulls the plug
}

case $0 in
/init) boot ;;
*) "$1" ;;
esac
