#!/bin/bash
# Process 1 of the test cluster: starts its daemons and outlives them. Run by cluster.py under unshare.
#   daemons.sh FOLDER NODE...
# FOLDER holds slurm.conf, gres.conf, hosts, munge.key and ssh.
set -u
folder=$1
shift
export SLURM_CONF=$folder/slurm.conf
cd "$folder" || exit 1

munged --foreground --key-file=munge.key --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" &
until munge --no-input --socket="$folder/munge.socket" > /dev/null 2>&1; do sleep 0.02; done

slurmctld -D -i > /dev/null 2>&1 &

for node in "$@"; do
    # A node has a name, an /etc/hosts, an ssh and a /dev/shm of its own: Open MPI tells machines apart by their names,
    # and shares memory among the ranks of one. Interrupts are ignored in what bash starts in the background; undo that.
    # shellcheck disable=SC2016 # expanded by the inner one
    unshare --uts --mount --propagation private bash -c '
        set -e
        hostname "$2"
        mount --bind "$1/hosts" /etc/hosts
        mount -t tmpfs -o mode=1777 shm /dev/shm
        if [ -e /usr/bin/ssh ]; then mount --bind "$1/ssh" /usr/bin/ssh; fi
        exec env --default-signal=INT,QUIT slurmd -D -N "$2"' node "$folder" "$node" > "$folder/$node.out" 2>&1 &
done
# Bash reaps what the daemons leave behind. The cluster does not outlive the tests by much, whatever becomes of them.
sleep 3600 &
wait $!
