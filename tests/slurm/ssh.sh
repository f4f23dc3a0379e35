#!/bin/bash
# ssh as the nodes of the test cluster have it: the command runs as a step of the job that asks.
#   ssh [OPTION]... HOST [OPTION]... COMMAND...
host=
while [ $# -gt 0 ]; do
    case $1 in
        -[bcDEeFIiJLlmOopQRSWw]) shift 2 ;;
        -*) shift ;;
        *) if [ -z "$host" ]; then host=${1#*@} && shift; else break; fi ;;
    esac
done
if [ -z "${SLURM_JOB_ID:-}" ]; then echo "ssh: no job, no way to $host" >&2; exit 255; fi
# A login shell on the other side: nothing of this environment goes along.
exec env -u SLURM_GPUS_PER_TASK -u SLURM_NTASKS_PER_NODE -u SLURM_NTASKS -u SLURM_NPROCS srun --quiet --overlap --mpi=none -N 1 -n 1 -w "$host" --export=NONE \
    /usr/bin/env -i HOME="${HOME:-/}" USER="${USER:-root}" SHELL=/bin/bash PATH=/usr/bin:/bin bash -c "$*"
