"""The text of the batch scripts that is the same in all of them: the body, and heads and settings of `slurm/*.sbatch`."""

__all__ = [
    "BODY",
    "EVALUATE_TASK",
    "EVALUATE_WHAT",
    "STANDALONE_HEAD",
    "STANDALONE_SETTINGS",
    "SWEEP_TASK",
    "SWEEP_WHAT",
]

EVALUATE_WHAT = """\
# Evaluate a job on a Slurm cluster: one rank a task, on after time limits until it is done.
#
#   sbatch slurm/evaluate.sbatch JOB.yaml [OPTION OF harness evaluate]...
#   RUN=FOLDER sbatch slurm/evaluate.sbatch JOB.yaml           the folder of the run; else runs/NAME beside the job
"""
SWEEP_WHAT = """\
# Evaluate many checkpoints, or many jobs, as a job array: each task of it is a run of its own, in a folder of its own.
#
#   JOB=JOB.yaml sbatch --array=0-2 slurm/sweep.sbatch CHECKPOINT CHECKPOINT CHECKPOINT
#   sbatch --array=0-1 slurm/sweep.sbatch A.yaml B.yaml        RUNS=FOLDER: where the runs go; else runs/sweep
#   harness collect runs/sweep/*                               one table of all of them, when they have ended
#   harness collect --first-pass runs/sweep/*                  the first whose gate let it pass
"""
STANDALONE_HEAD = """\
#!/bin/bash
@WHAT@#
# Edit what stands above the line, or say it to sbatch, whose options win over these. slurm/README.md explains each line;
# `harness submit` writes the same script with your values in it.
#SBATCH --job-name=harness
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=2
#SBATCH --time=1:00:00
#SBATCH --output=slurm-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
##SBATCH --gpus-per-task=1
##SBATCH --partition=gpu

"""
STANDALONE_SETTINGS = """\
# module load openmpi                # where the environment was built with MPI=system
# shellcheck source=/dev/null
if [ -e "${VENV:=.venv}/bin/activate" ]; then . "$VENV/bin/activate"; fi
harness=(harness)                    # in a container: (apptainer exec --nv harness.sif harness)
launcher=${LAUNCHER:-auto}           # srun, mpirun or horovodrun
max_requeues=${MAX_REQUEUES:-10}     # how often it goes on after the time limit
"""
EVALUATE_TASK = """\
job=${1:?which job? sbatch slurm/evaluate.sbatch JOB.yaml}
run=${RUN:-$(dirname "$job")/runs/$(basename "${job%.*}")}
words=(evaluate "$job" -o "$run" "${@:2}")

"""
SWEEP_TASK = """\
items=("$@")
item=${items[${SLURM_ARRAY_TASK_ID:?say --array=0-N}]:?there is nothing for this task of the array}
run=${RUNS:-runs/sweep}/$(basename "$item" .yaml)
if [ -z "${JOB:-}" ]; then
    words=(evaluate "$item" -o "$run")
else
    model=$(realpath -m "$item")
    words=(evaluate "$JOB" -o "$run" --set "model.path='${model//\\'/\\'\\'}'")
fi

"""
BODY = r"""# Below is the same in every script: nothing there needs to be edited.
set -u
say() { echo "[slurm] $*"; }

if ! mkdir -p "$run"; then say "$run: cannot be made"; exit 2; fi
run=$(realpath "$run")
id=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
requeues=$((${SLURM_RESTART_COUNT:-0} + ${HARNESS_REQUEUES:-0}))

# Ranks leave the exit code of the job here: srun, mpirun and horovodrun lose it.
export HARNESS_STATUS=$run/slurm-status.json
rm -f "$HARNESS_STATUS"
# As many threads as Slurm gave CPUs; where no number was asked for, a rank looks at what it may use.
if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then
    export HARNESS_THREADS=$SLURM_CPUS_PER_TASK OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
fi
export HOROVOD_STALL_CHECK_DISABLE=1 PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
# Slurm binds, Open MPI need not.
export OMPI_MCA_hwloc_base_binding_policy=none
# On fewer nodes than TreeWidth (50, if left alone) the barrier of Slurm's PMIx holds nobody back, unless it is a ring: a rank
# that is ahead writes to one that cannot read yet, and that one crashes.
export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-ring}

why="as it was asked for"
if [ "$launcher" = auto ]; then
    # Tried, not looked up: a site may list pmix and lack its library.
    if srun --mpi=pmix --nodes=1 --ntasks=1 true 2> /dev/null; then
        launcher=srun why="srun --mpi=pmix works here"
    elif command -v mpirun > /dev/null; then
        launcher=mpirun why="srun --mpi=pmix does not work here, mpirun is there"
    else
        launcher=horovodrun why="srun --mpi=pmix does not work here, there is no mpirun"
    fi
fi
case $launcher in
    srun)
        start=(srun --mpi=pmix --export=ALL --kill-on-bad-exit=1)
        if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then start+=(--cpus-per-task="$SLURM_CPUS_PER_TASK" --cpu-bind=cores); fi
        if [ -n "${SLURM_GPUS_PER_TASK:-}" ]; then start+=(--gpus-per-task="$SLURM_GPUS_PER_TASK"); fi
        start+=("${harness[@]}")
        ;;
    mpirun) start=(mpirun "${harness[@]}") ;;
    horovodrun) start=("${harness[@]}" launch -H slurm --) ;;
    *) say "launcher=$launcher: expected auto, srun, mpirun or horovodrun"; exit 2 ;;
esac
# mpirun and horovodrun start a daemon a node, through srun: as one task it would be shown one GPU. It gets all that the job
# has there, and each rank takes one by its place on the node.
if [ "$launcher" != srun ] && [ -n "${SLURM_GPUS_PER_TASK:-}" ]; then
    unset SLURM_GPUS_PER_TASK
    export SLURM_GPUS_PER_NODE=${SLURM_GPUS_ON_NODE:-1}
fi

# What the launcher says of ranks that end goes into a file too: the first word counts, the others are ended because of it.
ends=$run/slurm-ends.txt signal='' ranks='' rank='' host='' how=''
rm -f "$ends"
ending='^srun: error: .*: tasks* [0-9].*: \|^srun: Job step aborted\|exited on signal'
exec {words_of_all}> >(trap '' INT TERM USR1; exec sed -u -e "/$ending/w $ends" >&2)
relay=$!
# shellcheck disable=SC2317 # called by the traps
ask() { # SIGNAL: ranks commit what they have finished, and leave
    signal=$1
    say "SIG$1: all ranks are asked to commit and to leave"
    if [ -n "$ranks" ]; then kill -s "$1" "$ranks" 2> /dev/null; fi
}
trap 'ask USR1' USR1
trap 'ask TERM' TERM
say "job $id on $SLURM_JOB_NODELIST, tasks by node $SLURM_TASKS_PER_NODE, through $launcher ($why)"
say "+ ${start[*]} ${words[*]} --resume"
"${start[@]}" "${words[@]}" --resume 2>&"$words_of_all" {words_of_all}>&- &
ranks=$!
# A trap ends the wait, not the ranks.
while wait "$ranks"; code=$?; kill -0 "$ranks" 2> /dev/null; do :; done
exec {words_of_all}>&-
while kill -0 "$relay" 2> /dev/null; do wait "$relay"; done

job_code=$(sed -n 's/.*"exit_code": \([0-9]*\).*/\1/p' "$HARNESS_STATUS" 2> /dev/null)
# When one rank dies the others are told to leave, and say that they were interrupted. srun and mpirun say who died first; the
# ranks on its node know too; where none is left there, its heartbeat does not say that it was interrupted.
if [ -z "$signal" ] && [ "$code" != 0 ] && [ "${job_code:-4}" = 4 ]; then
    first=$(head -n 1 "$ends" 2> /dev/null) failure=$run/failure.json last='' seen=''
    srun_says='^srun: error: ([^:]+): tasks? ([0-9]+)[^:]*: (.*)'
    mpirun_says='process rank ([0-9]+) .*on node ([^ ]+) exited on (signal [^.]*)'
    if [[ $first =~ $srun_says && $first != *code\ [0-9] && $first != *code\ [0-9][0-9] && $first != *Terminated ]]; then
        host=${BASH_REMATCH[1]} rank=${BASH_REMATCH[2]} how=${BASH_REMATCH[3]}
    elif [[ $first =~ $mpirun_says ]]; then
        rank=${BASH_REMATCH[1]} host=${BASH_REMATCH[2]} how=${BASH_REMATCH[3]}
    elif [ $(($(date +%s) - $(stat -c %Y "$failure" 2> /dev/null || echo 0))) -le "$SECONDS" ]; then
        rank=$(sed -n 's/.*"rank": \([0-9]*\).*/\1/p' "$failure")
    fi
    if [ -n "$rank" ]; then
        last=$run/progress/rank-$(printf %05d "$rank").json
    elif [ -z "$first" ]; then
        last=$(grep -L -e '"interrupted"' -e '"done"' "$run"/progress/rank-*.json 2> /dev/null | head -n 1)
    fi
    if [ -n "$last" ]; then
        if [ -e "$last" ]; then seen=", the last of it is in $last"; fi
        case $how in
            '' | *Killed* | *Memory* | *'signal 9'* | *137)
                say "a rank was killed$seen: by the kernel for want of memory, where nobody else did it" ;;
            *) say "rank $rank on $host crashed ($how)$seen" ;;
        esac
        job_code=1
        # Whoever looks at the run learns that it failed, and was not asked to stop.
        if [ -n "$how" ] && grep -q '"interrupted"' "$run/status.json" 2> /dev/null; then
            printf '{"host": "%s", "message": "rank %s on %s ended: %s", "rank": %s, "time": %s}\n' \
                "$host" "$rank" "$host" "$how" "$rank" "$(date +%s)" > "$failure.slurm"
            ln "$failure.slurm" "$failure" 2> /dev/null
            sed -e 's/"interrupted"/"failed"/' -e 's/"exit_code": 4/"exit_code": 1/' "$run/status.json" > "$failure.status" &&
                mv "$failure.status" "$run/status.json"
            rm -f "$failure.slurm"
        fi
    fi
fi
# The time limit: the run goes on in this job, or in the next one where the site lets no job be requeued.
if [ "$signal" = USR1 ] && [ "${job_code:-4}" = 4 ]; then
    job_code=4
    if [ "$requeues" -ge "$max_requeues" ]; then
        say "not done after $requeues requeues, the most that were allowed; what is finished is kept: submit it again"
    else
        say "requeue $((requeues + 1)) of $max_requeues"
        trap - TERM # Slurm ends this start now, if it does not end first
        if ! scontrol requeue "$id"; then
            export HARNESS_REQUEUES=$((requeues + 1))
            next=$(env -u SLURM_RESTART_COUNT sbatch --parsable --export=ALL --dependency="afterany:$id" \
                ${SLURM_ARRAY_TASK_ID:+--array="$SLURM_ARRAY_TASK_ID"} "$0" "$@")
            echo "$next" > "$run/slurm-next"
            say "this job cannot be requeued: job $next goes on after it"
        fi
    fi
fi
say "exit code ${job_code:-$code}"
exit "${job_code:-$code}"
"""
