#!/bin/bash
# One run, captured by the eight tasks of a job array, which need not run at the same time:
#     sbatch docs/slurm/array.sh --model mixtral --dataset c4 --num-samples 1000000
# A task that failed is started again with `sbatch --array=3 …`, which then captures all that is left.
#SBATCH --job-name=gatehouse
#SBATCH --array=0-7
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=12:00:00
#SBATCH --output=gatehouse-%A-%a.log

# on a file system that all nodes share
: "${GATEHOUSE_HOME:?name the folder of the warehouse}"
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

# exec: what SLURM sends to the task, Gatehouse hears
exec gatehouse capture --rank auto "$@"
