# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=dash
# Run in the guest by novt.run=check, or by novt.run=light: less of the same, for slow engines. Prints each command's output between markers, for the host to check.
light=
[ "${1:-}" = light ] && light=1

section() {
    name=$1
    shift
    echo "novt: begin $name"
    "$@"
    echo "novt: end $name $?"
}

fork_exec_loop() {
    # /bin/true by its full path is a process of its own in busybox's shell: fork, exec, exit, wait.
    i=0 n=300
    [ -z "$light" ] || n=50
    while [ "$i" -lt "$n" ]; do
        /bin/true || return 1
        i=$((i + 1))
    done
    echo "ran $i programs"
}

nested_subshells() {
    # Pipelines: several processes alive at once, copy on write, pipes.
    i=0 sum=0
    while [ "$i" -lt 20 ]; do
        n=$(seq 1 100 | grep -v 7 | wc -l)
        sum=$((sum + n))
        i=$((i + 1))
    done
    echo "sum $sum"
}

pattern_sum() {
    # The same generator runs on the host: the sum must be the same.
    seq 1 100000 >/tmp/pattern || return 1
    dd if=/tmp/pattern bs=4096 2>/dev/null | sha256sum
}

zero_sum() {
    dd if=/dev/zero bs=64k count=32 2>/dev/null | sha256sum
}

file_copy() {
    dd if=/dev/urandom of=/tmp/a bs=64k count=16 2>/dev/null && cp /tmp/a /tmp/b && cmp /tmp/a /tmp/b &&
        gzip -c /tmp/pattern | gunzip -c | cmp - /tmp/pattern && echo "copies equal"
}

programs() {
    # The same binaries run on the host: their checksums must be the same.
    list="sieve:1 crc32:1 quicksort:13 sha256:1 lz:1 interp:3 chase:2 memcpy:1 memset:1 rep-movs:1 rep-stos:1 repne-scas:1
        nbody-x87:1 nbody-sse2:1 matmul-x87:1 matmul-sse2:1 fft-x87:1 fft-sse2:1 mandel-x87:1 mandel-sse2:1 fib:2 icall:1
        callbacks:1 getppid:1 getppid-sysenter:1 forkwait:1 forkexec:1 pingpong:1 ctxswitch:2 pagefault:2 mmap:2 signals:2
        filecopy:2 shell:2"
    [ -z "$light" ] || list="sieve:1 crc32:1 nbody-x87:1 nbody-sse2:1 matmul-sse2:1 getppid:1 forkexec:1 pagefault:2"
    for p in $list; do
        echo "program ${p%:*} ${p#*:}"
        /bench/${p%:*} ${p#*:} || return 1
    done
}

signals() {
    # A signal handler in the shell, and processes that die of signals: the kernel's signal frames.
    got=
    trap 'got=usr1' USR1
    kill -USR1 $$
    trap - USR1
    sh -c 'kill -SEGV $$' 2>/dev/null
    echo "trap $got status $?"
}

section uname uname -a
section cpuinfo cat /proc/cpuinfo
section mount mount
section meminfo head -3 /proc/meminfo
section interrupts cat /proc/interrupts
section forkexec fork_exec_loop
section pipes nested_subshells
section pattern pattern_sum
section zero zero_sum
section copy file_copy
section signals signals
section sleep sleep 1
section programs programs
section date date +%s
echo "novt: check done"
