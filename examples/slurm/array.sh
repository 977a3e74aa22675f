#!/bin/bash
# A sweep over eight jobs, each with a GPU of its own: every job measures an eighth of the cells into a folder of its own.
#
#   sbatch examples/slurm/array.sh configs/llama2-7b-fp16-cuda.toml runs/7b
#
# When all are done, `merge` makes one run of them, and names the rows of each machine where there were several:
#
#   llama2-bench merge runs/7b-*-of-8 -o runs/7b
#
# A job that was cancelled or ran out of time goes on where it was: its folder is there, and it resumes.
#SBATCH --job-name=llama2-bench
#SBATCH --array=1-8
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --output=%x-%A-%a.log
set -euo pipefail

sweep=${1:?a sweep}
runs=${2:?where the runs go}
share=$SLURM_ARRAY_TASK_ID
count=$SLURM_ARRAY_TASK_COUNT
dir=$runs-$share-of-$count

if [ -e "$dir/environment.json" ]; then
    exec llama2-bench run --resume "$dir"
fi
exec llama2-bench run "$sweep" --shard "$share/$count" --out "$dir"
