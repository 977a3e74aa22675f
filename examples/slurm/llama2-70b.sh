#!/bin/bash
# LLaMA-2 70B on four ranks, one GPU each: one node with four GPUs (as below), or several nodes.
#
#   sbatch examples/slurm/llama2-70b.sh                                          # 1 node × 4 GPUs
#   sbatch --nodes=2 --ntasks-per-node=2 --gpus-per-node=2 examples/slurm/llama2-70b.sh
#
# llama2-bench starts the ranks itself, with mpirun: it must be started once, not by srun. Program, runtimes and checkpoint must have
# the same paths on every node. Open MPI reads the job's nodes from SLURM; the hostfile says the same to any other mpirun.
#SBATCH --job-name=llama2-70b
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
set -euo pipefail

hosts=$(mktemp -p "$SLURM_SUBMIT_DIR" hosts.XXXXXX)
trap 'rm -f "$hosts"' EXIT
scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/\$/ slots=$SLURM_NTASKS_PER_NODE/" >"$hosts"

arguments=(run configs/llama2-70b-fp16-cuda.toml --world-size "$SLURM_NTASKS" --out "runs/70b-$SLURM_JOB_ID")
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    arguments+=(--hostfile "$hosts")
fi
llama2-bench "${arguments[@]}"
