#!/bin/bash
#SBATCH --job-name catdog --nodes 2 --ntasks-per-node 1 --gpus-per-node 8
#SBATCH --time 04:00:00 --signal B:TERM@120 --requeue --open-mode append
# Two minutes before the time is over it saves, and goes into the queue again; --or-resume then goes on.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node 8 --max-restarts 3 \
    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first:29500" \
    -m catdog train --data photos --out runs/cluster --or-resume &
trap 'again=yes; kill -TERM $!' TERM
wait $!
status=$?
if [ "$again" ]; then
    wait $! # for the checkpoint
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
